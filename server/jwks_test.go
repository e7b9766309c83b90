package server_test

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/server/auth"
)

// Whose keys cannot be fetched is not refused for good: the client may come
// again.
func TestTokensThatCannotBeCheckedNowAreNotTheClientsFault(t *testing.T) {
	down := httptest.NewServer(http.NotFoundHandler())
	defer down.Close()
	keys, err := auth.NewKeySet(down.URL)
	require.NoError(t, err)
	defer keys.Close()
	s := server.New(server.Options{Engine: &fake{}, Auth: auth.New(auth.Options{
		Tokens: &auth.Tokens{KeySet: keys}, APIKeys: []auth.APIKey{auth.NewAPIKey("k", "", auth.Everything())},
	})})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	token, err := auth.Sign(key, auth.DefaultIssuer, auth.DefaultAudience, "ada", []string{"tasks:list"}, time.Hour, time.Now())
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/v1/tasks", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	requireProblem(t, rec, 503, "SERVICE_UNAVAILABLE", "tokens cannot be checked at the moment")
	require.Equal(t, "10", rec.Header().Get("Retry-After"))
	require.Empty(t, rec.Header().Get("x-auth-failure-reason"))

	require.Contains(t, askAs(s, http.MethodGet, "/config", "k").Body.String(), `"verification_method":"jwks"`)
	require.Equal(t, http.StatusOK, askAs(s, http.MethodGet, "/v1/tasks", "k").Code, "others are known all the same")
}
