package server_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
)

// client keeps no connections, which goleak would find.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// buffer is a log's destination that tests may read meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func recordingLog() (*slog.Logger, *buffer) {
	b := &buffer{}
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})), b
}

func start(t *testing.T, o server.Options, addr string) *server.Server {
	t.Helper()
	s := server.New(o)
	require.NoError(t, s.Start(t.Context(), addr))
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	return s
}

func TestAStartedServerAnswersOnItsAddress(t *testing.T) {
	s := start(t, server.Options{Engine: &fake{}}, "127.0.0.1:0")
	answer, err := client(t).Get("http://" + s.Addr() + "/health/live")
	require.NoError(t, err)
	require.Contains(t, readAll(t, answer.Body), `"alive"`)
	require.Equal(t, "nosniff", answer.Header.Get("X-Content-Type-Options"))
}

func TestBeforeStartThereIsNoAddress(t *testing.T) {
	require.Empty(t, server.New(server.Options{Engine: &fake{}}).Addr())
}

func TestAPortInUseIsToldInOneLineWithTheRemedy(t *testing.T) {
	first := start(t, server.Options{Engine: &fake{}}, "127.0.0.1:0")
	err := server.New(server.Options{Engine: &fake{}}).Start(t.Context(), first.Addr())
	require.ErrorIs(t, err, server.ErrAddressInUse)
	require.ErrorContains(t, err, first.Addr())
	require.ErrorContains(t, err, "choose another port")
	require.NotContains(t, err.Error(), "\n")
}

func TestABadAddressIsToldApart(t *testing.T) {
	for _, addr := range []string{"8083", "127.0.0.1:99999", "127.0.0.1:http-ish", "198.51.100.1:0", "[::1:80"} {
		err := server.New(server.Options{Engine: &fake{}}).Start(t.Context(), addr)
		require.ErrorIs(t, err, server.ErrBadAddress, addr)
		require.ErrorContains(t, err, addr)
	}
}

func TestAListenerMayBeOpenedBeforehand(t *testing.T) {
	l, err := server.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	s := server.New(server.Options{Engine: &fake{}})
	require.NoError(t, s.StartOn(l))
	require.Equal(t, l.Addr().String(), s.Addr())
	require.NoError(t, s.Stop(t.Context()))
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestStoppingWhatNeverStartedAndStoppingTwiceIsFine(t *testing.T) {
	s := server.New(server.Options{Engine: &fake{}})
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()))
	require.ErrorIs(t, s.Start(t.Context(), "127.0.0.1:0"), server.ErrStopped)

	s = server.New(server.Options{Engine: &fake{}})
	require.NoError(t, s.Start(t.Context(), "127.0.0.1:0"))
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()))
}

func TestAServerStartsOnce(t *testing.T) {
	s := start(t, server.Options{Engine: &fake{}}, "127.0.0.1:0")
	require.ErrorIs(t, s.Start(t.Context(), "127.0.0.1:0"), server.ErrStarted)
}

// slow is an engine whose Submit lasts until the test lets it go.
func slow() (e *fake, entered chan struct{}, leave chan struct{}) {
	entered, leave = make(chan struct{}), make(chan struct{})
	return &fake{submit: func(ctx context.Context, _ engine.TaskRequest) (engine.Task, error) {
		close(entered)
		select {
		case <-leave:
			return completeTask(), nil
		case <-ctx.Done():
			return engine.Task{}, ctx.Err()
		}
	}}, entered, leave
}

// closing tells when it is closed.
type closing struct {
	net.Listener
	closed chan struct{}
	once   sync.Once
}

func (l *closing) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func TestStopLetsRequestsUnderWayFinish(t *testing.T) {
	e, entered, leave := slow()
	s := server.New(server.Options{Engine: e})
	l, err := server.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	notified := &closing{Listener: l, closed: make(chan struct{})}
	require.NoError(t, s.StartOn(notified))
	answered := make(chan string, 1)
	go func() {
		answer, err := client(t).Post("http://"+s.Addr()+"/v1/tasks", "application/json", strings.NewReader(minimalRequest))
		if err != nil {
			answered <- err.Error()
			return
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		answered <- answer.Status + " " + string(body)
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.Background()) }()
	<-notified.closed
	close(leave)
	require.Contains(t, <-answered, "200 OK")
	require.NoError(t, <-stopped)
}

func TestStopCutsRequestsOffWhenItsContextEnds(t *testing.T) {
	e, entered, _ := slow()
	s := server.New(server.Options{Engine: e})
	require.NoError(t, s.Start(t.Context(), "127.0.0.1:0"))
	failed := make(chan error, 1)
	go func() {
		answer, err := client(t).Post("http://"+s.Addr()+"/v1/tasks", "application/json", strings.NewReader(minimalRequest))
		if err == nil {
			_ = answer.Body.Close()
		}
		failed <- err
	}()
	<-entered
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Stop(ended)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "requests still under way")
	require.Error(t, <-failed)
}

func TestRequestsAreLoggedAtDebugLevel(t *testing.T) {
	log, lines := recordingLog()
	s := server.New(server.Options{Engine: &fake{}, Log: log})
	askServer(t, s, http.MethodGet, "/v1/tasks/seven", "")
	require.Contains(t, lines.String(), "level=DEBUG")
	require.Contains(t, lines.String(), "path=/v1/tasks/seven")
	require.Contains(t, lines.String(), "status=400")
}
