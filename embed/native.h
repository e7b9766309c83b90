/* The builtin module _taskerpy: Python's one door into Go. */
#ifndef TASKERPY_NATIVE_H
#define TASKERPY_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyMODINIT_FUNC tp_native_module(void);

#endif
