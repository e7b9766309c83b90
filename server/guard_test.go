package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/server"
)

// send asks a started server under the given name.
func send(t *testing.T, s *server.Server, host string) *httptest.ResponseRecorder {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+"/health", nil)
	require.NoError(t, err)
	r.Host = host
	answer, err := client(t).Do(r)
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	rec.Code = answer.StatusCode
	rec.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	rec.Body.WriteString(readAll(t, answer.Body))
	return rec
}

func TestOnLoopbackOnlyTheMachinesOwnNamesAreAnswered(t *testing.T) {
	s := start(t, server.Options{Engine: &fake{}, AllowedHosts: []string{"tasks.internal"}}, "127.0.0.1:0")
	for _, host := range []string{"127.0.0.1", "127.0.0.1:8083", "localhost:8083", "LOCALHOST", "[::1]:8083", "[::1]", "192.0.2.7:80", "tasks.internal:443"} {
		require.Equal(t, http.StatusOK, send(t, s, host).Code, host)
	}
	for _, host := range []string{"evil.example", "evil.example:8083", "localhost.evil.example", "127.0.0.1.evil.example"} {
		requireProblem(t, send(t, s, host), http.StatusForbidden, "FORBIDDEN", host)
	}
}

func TestOnOtherAddressesEveryNameIsAnswered(t *testing.T) {
	s := start(t, server.Options{Engine: &fake{}}, "0.0.0.0:0")
	require.Equal(t, http.StatusOK, send(t, s, "worker.shop.svc.cluster.local:8083").Code)
}

func TestWebPagesOfOthersCannotChangeAnything(t *testing.T) {
	e := &fake{task: completeTask()}
	s := server.New(server.Options{Engine: e})
	for _, c := range []struct {
		method, header, value string
		status                int
	}{
		{http.MethodPost, "Sec-Fetch-Site", "cross-site", 403},
		{http.MethodPost, "Sec-Fetch-Site", "same-site", 403},
		{http.MethodPost, "Origin", "https://evil.example", 403},
		{http.MethodPost, "Origin", "null", 403},
		{http.MethodDelete, "Origin", "https://evil.example", 403},
		{http.MethodPost, "Sec-Fetch-Site", "same-origin", 200},
		{http.MethodPost, "Origin", "http://example.com", 200}, // that of the request
		{http.MethodPost, "Sec-Fetch-Site", "none", 200},
		{http.MethodGet, "Sec-Fetch-Site", "cross-site", 200}, // which the page cannot read
	} {
		path, body := "/v1/tasks", minimalRequest
		if c.method != http.MethodPost {
			path, body = path+"/"+taskID.String(), ""
		}
		r := httptest.NewRequest(c.method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(c.header, c.value)
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, r)
		require.Equal(t, c.status, rec.Code, c)
		require.Empty(t, rec.Header().Get("Access-Control-Allow-Origin"))
		if c.status == 403 {
			requireProblem(t, rec, 403, "FORBIDDEN", "another origin")
		}
	}
}
