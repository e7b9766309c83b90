/*
 * Stand-ins for C functions that cpy3 v0.2.0 names and that newer CPythons no
 * longer have. Force-included through python3.pc, so it must not include
 * Python.h, nor any system header (Python.h must come first); the version is
 * told from patchlevel.h. None of them is called.
 */
#ifndef TASKERPY_CPY3_COMPAT_H
#define TASKERPY_CPY3_COMPAT_H

#include <patchlevel.h>

static inline int PyDict_ClearFreeList(void) { return 0; }
static inline int PyFloat_ClearFreeList(void) { return 0; }
static inline int PyList_ClearFreeList(void) { return 0; }
static inline void PyEval_ReInitThreads(void) {}

#if PY_VERSION_HEX >= 0x030D0000
static inline void Py_SetPath(const __WCHAR_TYPE__ *path) { (void)path; }
static inline int Py_SetStandardStreamEncoding(const char *encoding, const char *errors)
{
    (void)encoding;
    (void)errors;
    return -1;
}
static inline void PySys_AddWarnOption(const __WCHAR_TYPE__ *s) { (void)s; }
static inline void PySys_AddXOption(const __WCHAR_TYPE__ *s) { (void)s; }
static inline void PySys_SetPath(const __WCHAR_TYPE__ *path) { (void)path; }
static inline int PyEval_ThreadsInitialized(void) { return 1; }
#endif

#endif
