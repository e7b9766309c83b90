#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "native.h"
#include "taskerpy_python.h"

#define TP_MAX_FUNCTIONS 32
/* An out buffer that grew beyond this for one large result is given back. */
#define TP_KEEP_OUT (1u << 20)

static atomic_int_least64_t live_blocks;
static atomic_int in_child;

/* Strong references, taken by tp_function and kept for the process's life. */
static PyObject *functions[TP_MAX_FUNCTIONS];
static int function_count;

/*
 * Go handles SIGPIPE on its own threads only. On one that Python has started it
 * does what was to be done before Go began: by default that ends the process,
 * for a connection that somebody else has closed. So this comes before Go.
 */
__attribute__((constructor)) static void ignore_broken_pipes(void) { signal(SIGPIPE, SIG_IGN); }

static void *tp_alloc(size_t n)
{
    void *p = malloc(n);
    if (p)
        atomic_fetch_add(&live_blocks, 1);
    return p;
}

static void tp_free(void *p)
{
    if (p) {
        atomic_fetch_sub(&live_blocks, 1);
        free(p);
    }
}

int64_t tp_live_blocks(void) { return atomic_load(&live_blocks); }
int tp_is_child(void) { return atomic_load_explicit(&in_child, memory_order_relaxed); }
static void mark_child(void) { atomic_store(&in_child, 1); }
const char *tp_header_version(void) { return PY_VERSION; }
const char *tp_runtime_version(void) { return Py_GetVersion(); }
const char *tp_built_for(void) { return TASKERPY_PYTHON_EXECUTABLE; }

static int status_failed(PyStatus status, char *err, size_t err_len)
{
    if (!PyStatus_Exception(status))
        return 0;
    snprintf(err, err_len, "%s%s%s", status.func ? status.func : "", status.func ? ": " : "",
             status.err_msg ? status.err_msg : "exited during start");
    /* A start that failed half way may hold the GIL; every later attach would
     * wait for it for ever. */
    if (Py_IsInitialized() && PyGILState_Check())
        PyEval_SaveThread();
    return 1;
}

int tp_initialize(tp_config *config, char *err, size_t err_len)
{
    if (pthread_atfork(NULL, NULL, mark_child) != 0) {
        snprintf(err, err_len, "no memory for the fork handler");
        return -1;
    }
    if (PyImport_AppendInittab("_taskerpy", tp_native_module) != 0) {
        snprintf(err, err_len, "no memory for the native module");
        return -1;
    }

    PyPreConfig pre;
    PyPreConfig_InitPythonConfig(&pre);
    pre.utf8_mode = 1;
    if (status_failed(Py_PreInitialize(&pre), err, err_len))
        return -1;

    PyConfig py;
    PyConfig_InitPythonConfig(&py);
    py.install_signal_handlers = config->own_signals;
    py.faulthandler = 0;
    py.parse_argv = config->argc > 0;

    PyStatus status = PyConfig_SetBytesString(&py, &py.executable, config->executable);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesString(&py, &py.program_name, config->executable);
    if (!PyStatus_Exception(status) && config->argc > 0)
        status = PyConfig_SetBytesArgv(&py, config->argc, config->argv);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&py);
    PyConfig_Clear(&py);
    if (PyStatus_IsExit(status)) {
        config->exit_code = status.exitcode;
        fflush(NULL); /* the process ends without C's exit() */
        return TP_EXIT;
    }
    return status_failed(status, err, err_len) ? -1 : 0;
}

int tp_run_main(void)
{
    int code = Py_RunMain();
    fflush(NULL); /* the process ends without C's exit() */
    if (tp_is_child())
        _exit(code); /* a forked child has no Go to return to */
    return code;
}

static tp_thread *wrap(PyThreadState *state)
{
    tp_thread *t = tp_alloc(sizeof *t);
    if (t) {
        memset(t, 0, sizeof *t);
        t->state = state;
        t->ident = PyThread_get_thread_ident();
        t->doomed = -1;
    }
    return t;
}

tp_thread *tp_thread_detach_current(void) { return wrap(PyEval_SaveThread()); }

tp_thread *tp_thread_new(void)
{
    /* Made by Ensure, not PyThreadState_New: the gilstate machinery must know
     * the state, or a library's own Ensure would make a second one. The
     * matching Release is in tp_thread_free. */
    PyGILState_Ensure();
    return wrap(PyEval_SaveThread());
}

void tp_thread_free(tp_thread *t)
{
    PyEval_RestoreThread(t->state);
    PyGILState_Release(PyGILState_UNLOCKED);
    tp_free(t->out);
    tp_free(t);
}

void tp_attach(tp_thread *t) { PyEval_RestoreThread(t->state); }
void tp_detach(tp_thread *t) { t->state = PyEval_SaveThread(); }

static int set_out(tp_thread *t, const char *data, size_t n)
{
    if (n > t->out_cap || t->out_cap > TP_KEEP_OUT) {
        size_t cap = n < 4096 ? 4096 : n;
        tp_free(t->out);
        t->out = tp_alloc(cap);
        t->out_cap = t->out ? cap : 0;
        if (!t->out) {
            t->out_len = 0;
            return TP_NO_MEMORY;
        }
    }
    memcpy(t->out, data, n);
    t->out_len = n;
    return TP_OK;
}

/* Describes the pending exception in t->out and clears it. */
static int take_exception(tp_thread *t)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace); /* new references */
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace && value)
        PyException_SetTraceback(value, trace);

    PyObject *text = NULL;
    PyObject *boot = PyImport_ImportModule("taskerpy_host.boot"); /* new */
    if (boot && value)
        text = PyObject_CallMethod(boot, "describe_exception", "O", value); /* new */
    int status;
    if (text && PyBytes_Check(text)) {
        status = set_out(t, PyBytes_AS_STRING(text), (size_t)PyBytes_GET_SIZE(text));
    } else {
        PyErr_Clear();
        const char *name = type ? ((PyTypeObject *)type)->tp_name : "error";
        status = set_out(t, name, strlen(name));
    }
    Py_XDECREF(text);
    Py_XDECREF(boot);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return status == TP_OK ? TP_EXCEPTION : status;
}

int tp_function(tp_thread *t, const char *module, const char *name)
{
    PyObject *m = PyImport_ImportModule(module); /* new */
    PyObject *f = m ? PyObject_GetAttrString(m, name) : NULL; /* new, kept below */
    Py_XDECREF(m);
    if (!f) {
        take_exception(t);
        return -1;
    }
    for (int i = 0; i < function_count; i++) {
        if (functions[i] == f) {
            Py_DECREF(f);
            return i;
        }
    }
    if (function_count == TP_MAX_FUNCTIONS) {
        Py_DECREF(f);
        set_out(t, "function table full", 19);
        return -1;
    }
    functions[function_count] = f;
    return function_count++;
}

int tp_call(tp_thread *t, int fn, const char *in, size_t n)
{
    __atomic_store_n(&t->busy, 1, __ATOMIC_SEQ_CST);
    PyEval_RestoreThread(t->state);
    t->in_call = 1;
    if (t->doomed >= 0)
        PyThreadState_SetAsyncExc(t->ident, functions[t->doomed]);
    int status;
    PyObject *arg = PyBytes_FromStringAndSize(in, (Py_ssize_t)n); /* new */
    PyObject *result = arg ? PyObject_CallOneArg(functions[fn], arg) : NULL; /* new */
    Py_XDECREF(arg);
    if (tp_is_child()) {
        /* A handler forked and the child came back here instead of leaving
         * by os._exit(). Go does not work in a forked child: end it. */
        PyObject *boot = PyImport_ImportModule("taskerpy_host.boot");
        if (boot)
            Py_XDECREF(PyObject_CallMethod(boot, "flush_streams", NULL));
        _exit(result ? 0 : 1);
    }
    if (!result) {
        status = take_exception(t);
    } else if (result == Py_None) {
        t->out_len = 0;
        status = TP_NONE;
    } else if (!PyBytes_Check(result)) {
        PyErr_Format(PyExc_TypeError, "host function returned %s, not bytes", Py_TYPE(result)->tp_name);
        status = take_exception(t);
    } else {
        status = set_out(t, PyBytes_AS_STRING(result), (size_t)PyBytes_GET_SIZE(result));
    }
    Py_XDECREF(result);
    /* An interrupt that came too late must not hit the next call. */
    t->in_call = 0;
    t->doomed = -1;
    __atomic_store_n(&t->busy, 0, __ATOMIC_SEQ_CST);
    PyThreadState_SetAsyncExc(t->ident, NULL);
    t->state = PyEval_SaveThread();
    return status;
}

int tp_interrupt(tp_thread *t, int exception)
{
    if (!__atomic_load_n(&t->busy, __ATOMIC_SEQ_CST))
        return 0;
    if (!t->in_call) {
        t->doomed = exception;
        return 1;
    }
    return PyThreadState_SetAsyncExc(t->ident, functions[exception]) == 1;
}
