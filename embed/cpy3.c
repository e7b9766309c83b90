/*
 * CPython's headers declare PySignal_SetWakeupFd, which cpy3 names, but its
 * library does not have it. Never called; the linker wants it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

int PySignal_SetWakeupFd(int fd)
{
    (void)fd;
    return -1;
}
