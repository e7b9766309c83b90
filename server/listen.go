package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Why an address cannot be listened on.
var (
	ErrAddressInUse = errors.New("address already in use")
	ErrBadAddress   = errors.New("not an address to listen on")
)

// Listen opens addr for a Server. The error is one line that names the address
// and the remedy: ErrAddressInUse, ErrBadAddress or the system's.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, fmt.Errorf("listen on %q: %w; write host:port, as in 127.0.0.1:8083", addr, ErrBadAddress)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", addr)
	if err == nil {
		return l, nil
	}
	var unknown *net.DNSError
	var port *net.AddrError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: %w; stop the program that has it, or choose another port (0 picks a free one)", addr, ErrAddressInUse)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s: %w; choose a port above 1023, or allow this one to the program", addr, syscall.EACCES)
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.As(err, &unknown), errors.As(err, &port):
		return nil, fmt.Errorf("listen on %s: %w: this machine has no such host or port; 127.0.0.1 is itself, 0.0.0.0 all its addresses", addr, ErrBadAddress)
	default:
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
}

// onLoopback tells whether only this machine can reach l.
func onLoopback(l net.Listener) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
