/*
 * The C half of package embed: starting CPython, threads with kept thread
 * states, and calls that take bytes and give bytes in one crossing.
 *
 * Ownership. Nothing here hands a PyObject to Go. A tp_thread belongs to the
 * OS thread that made it and is freed by tp_thread_free on that thread; its
 * out buffer belongs to it and is overwritten by its next call, so Go copies
 * what it wants to keep. Every block that Go may see is counted by tp_alloc
 * and tp_free (see tp_live_blocks), and tests hold that count to its baseline.
 */
#ifndef TASKERPY_HOST_H
#define TASKERPY_HOST_H

#include <stddef.h>
#include <stdint.h>

/* What a call ended with. */
enum {
    TP_OK = 0,
    TP_EXCEPTION = 1, /* out holds the exception as JSON, see taskerpy_host.boot.describe_exception */
    TP_NO_MEMORY = 2,
    TP_NONE = 3       /* the function returned None */
};

/* What a call from Python into Go ended with (native.c). */
enum { TP_CALL_OK = 0, TP_CALL_NONE = 1, TP_CALL_RUNTIME_ERROR = 2, TP_CALL_VALUE_ERROR = 3 };

typedef struct tp_config {
    const char *executable;   /* the virtualenv's python: becomes sys.executable */
    int argc;                 /* for tp_run_main; 0 otherwise */
    char **argv;
    int own_signals;          /* 1: Python installs its signal handlers (python mode) */
    int exit_code;            /* set with TP_EXIT */
} tp_config;

typedef struct tp_thread {
    void *state;              /* PyThreadState, kept for the thread's life */
    unsigned long ident;      /* as threading.get_ident() tells it */
    /* Guarded by the GIL: whether tp_call runs Python, and the exception (a
     * number of tp_function, or -1) that it is to raise as soon as it does. */
    int in_call, doomed;
    /* 1 from the beginning of tp_call to its end, also while it waits for the GIL. */
    int busy; /* atomic */
    char *out;                /* result of the last call */
    size_t out_len, out_cap;
} tp_thread;

/* What tp_initialize answers when arguments of a python command asked for
 * nothing but text, as --version does; the exit code is in config. */
enum { TP_EXIT = 1 };

/* Makes _taskerpy importable and starts CPython on this thread, which becomes
 * Python's main thread and holds the GIL afterwards. Returns 0, TP_EXIT, or -1 with a
 * message in err; the GIL is not held then. */
int tp_initialize(tp_config *config, char *err, size_t err_len);

/* Runs argv as the python command would, ends the interpreter and returns the exit code. */
int tp_run_main(void);

/* The running library's version, e.g. "3.11.7", and that of the headers. */
const char *tp_runtime_version(void);
const char *tp_header_version(void);
const char *tp_built_for(void);

/* Gives up the GIL on the thread that holds it and keeps its thread state. */
tp_thread *tp_thread_detach_current(void);
/* Makes a kept thread state for the calling thread, detached. NULL: no memory. */
tp_thread *tp_thread_new(void);
/* Ends it; the calling thread must be the one that made it, detached. */
void tp_thread_free(tp_thread *t);
void tp_attach(tp_thread *t);
void tp_detach(tp_thread *t);

/* Looks up module.name and keeps it for tp_call under the returned number
 * (>= 0). Attached. -1: failed, the exception is described in t->out. */
int tp_function(tp_thread *t, const char *module, const char *name);

/* Attaches, calls function fn with bytes, copies the resulting bytes into
 * t->out, detaches. One of the codes above. The calling thread must be t's. */
int tp_call(tp_thread *t, int fn, const char *in, size_t n);

/* Raises the exception that tp_function keeps under the number exception in
 * the call that t, another thread, is in or waits for the GIL for; does nothing
 * between calls. It takes effect when that thread next runs Python code. The calling thread is
 * attached. Returns whether there was a call. */
int tp_interrupt(tp_thread *t, int exception);

/* Blocks made by this layer and not freed yet; equal to a test's start when nothing leaked. */
int64_t tp_live_blocks(void);

/* 1 in a forked child of the process that called tp_initialize. */
int tp_is_child(void);

#endif
