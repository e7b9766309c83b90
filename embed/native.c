#include "native.h"

#include <stdlib.h>

#include "_cgo_export.h"
#include "host.h"

/*
 * call(name, payload=None) enters Go. The arguments are borrowed from the
 * caller's frame for the length of the call, so Go may read their memory
 * while the GIL is released. The answer is malloc'd by Go and freed here.
 *
 * Go does not work in a forked child: starting a goroutine or collecting
 * garbage there hangs for ever. So a child gets an exception.
 */
static PyObject *call(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 2 || !PyUnicode_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "call(name: str, payload: bytes | None = None)");
        return NULL;
    }
    Py_ssize_t name_len;
    const char *name = PyUnicode_AsUTF8AndSize(args[0], &name_len); /* borrowed */
    if (!name)
        return NULL;
    char *payload = NULL;
    Py_ssize_t payload_len = 0;
    if (nargs == 2 && args[1] != Py_None &&
        PyBytes_AsStringAndSize(args[1], &payload, &payload_len) != 0)
        return NULL;
    if (tp_is_child()) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s: not available in a forked child process of taskerpy", name);
        return NULL;
    }

    char *answer = NULL;
    size_t answer_len = 0;
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = taskerpyCall((char *)name, (size_t)name_len, payload, (size_t)payload_len, &answer, &answer_len);
    Py_END_ALLOW_THREADS

    PyObject *result = NULL;
    switch (status) {
    case TP_CALL_OK:
        result = PyBytes_FromStringAndSize(answer, (Py_ssize_t)answer_len);
        break;
    case TP_CALL_NONE:
        result = Py_NewRef(Py_None);
        break;
    default: {
        PyObject *text = PyUnicode_DecodeUTF8(answer ? answer : "", (Py_ssize_t)answer_len, "replace");
        if (text)
            PyErr_SetObject(status == TP_CALL_VALUE_ERROR ? PyExc_ValueError : PyExc_RuntimeError, text);
        Py_XDECREF(text);
    }
    }
    free(answer);
    return result;
}

static PyMethodDef methods[] = {
    {"call", (PyCFunction)(void (*)(void))call, METH_FASTCALL,
     "call(name, payload=None, /)\n--\n\nEnters the Go host with the GIL released."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_taskerpy", "The door from Python into the taskerpy host.", -1, methods,
};

PyMODINIT_FUNC tp_native_module(void) { return PyModule_Create(&module); }
