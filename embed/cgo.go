package embed

// All cgo flags of the project stand here. python3.pc is the project's own,
// written by embed/build/pkgconfig.py for the Python that `make` chose.

/*
#cgo pkg-config: python3
#cgo CFLAGS: -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers
*/
import "C"
