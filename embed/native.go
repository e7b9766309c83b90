package embed

/*
#include <stdlib.h>
#include "host.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime/debug"
	"unsafe"
)

// Native answers calls that Python makes through _taskerpy.call. It runs on
// the calling Python thread with the GIL released, so it may block, and
// nothing of Python may be touched in it. The payload is only valid during the
// call and is nil for None. A nil answer without error gives None; an error
// becomes RuntimeError, or ValueError if it is a ValueError.
type Native func(name string, payload []byte) (answer []byte, err error)

// ValueError is an error that Python sees as ValueError.
type ValueError struct{ Text string }

func (e ValueError) Error() string { return e.Text }

// native is set once, before the interpreter starts: like the interpreter
// itself it exists once in a process.
var native Native

func setNative(n Native) {
	if n == nil {
		n = func(name string, _ []byte) ([]byte, error) {
			return nil, fmt.Errorf("%s: the host offers no native functions here", name)
		}
	}
	native = n
}

// taskerpyCall is Python's door into Go. No panic may cross it.
//
//export taskerpyCall
func taskerpyCall(name *C.char, nameLen C.size_t, payload *C.char, payloadLen C.size_t, answer **C.char, answerLen *C.size_t) (status C.int) {
	give := func(b []byte) {
		*answer = (*C.char)(C.CBytes(b)) // freed by native.c
		*answerLen = C.size_t(len(b))
	}
	defer func() {
		if r := recover(); r != nil {
			give(fmt.Appendf(nil, "panic in native function: %v\n%s", r, debug.Stack()))
			status = C.TP_CALL_RUNTIME_ERROR
		}
	}()
	var in []byte
	if payload != nil {
		in = unsafe.Slice((*byte)(unsafe.Pointer(payload)), payloadLen)
	}
	out, err := native(C.GoStringN(name, C.int(nameLen)), in)
	switch {
	case err != nil:
		give([]byte(err.Error()))
		if errors.As(err, new(ValueError)) {
			return C.TP_CALL_VALUE_ERROR
		}
		return C.TP_CALL_RUNTIME_ERROR
	case out == nil:
		return C.TP_CALL_NONE
	default:
		give(out)
		return C.TP_CALL_OK
	}
}
