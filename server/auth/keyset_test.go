package auth

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// issuer is an identity provider with a key set.
type issuer struct {
	t     *testing.T
	url   string
	asked atomic.Int32
	mu    sync.Mutex
	body  string // "" answers 500
	hold  chan struct{}
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.asked.Add(1)
		i.mu.Lock()
		body, hold := i.body, i.hold
		i.mu.Unlock()
		if hold != nil {
			<-hold
		}
		if body == "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	i.url = s.URL + "/keys"
	return i
}

// publish makes these the keys of the set, by kid.
func (i *issuer) publish(keys map[string]*rsa.PrivateKey) {
	i.t.Helper()
	set := map[string][]map[string]any{"keys": {}}
	for kid, key := range keys {
		set["keys"] = append(set["keys"], jwk(kid, key))
	}
	data, err := json.Marshal(set)
	require.NoError(i.t, err)
	i.answer(string(data))
}

func (i *issuer) answer(body string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.body = body
}

func jwk(kid string, key *rsa.PrivateKey) map[string]any {
	return map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
}

// clock is a time that a test moves.
type clock struct{ now atomic.Pointer[time.Time] }

func (c *clock) add(d time.Duration) {
	now := c.now.Load().Add(d)
	c.now.Store(&now)
}

// keySet is the set of an issuer, and its clock.
func (i *issuer) keySet() (*KeySet, *clock) {
	i.t.Helper()
	s, err := NewKeySet(i.url)
	require.NoError(i.t, err)
	i.t.Cleanup(s.Close)
	c := &clock{}
	began := time.Now()
	c.now.Store(&began)
	s.now = func() time.Time { return *c.now.Load() }
	return s, c
}

// signedAs is a good token that names a key.
func signedAs(t *testing.T, kid string, key *rsa.PrivateKey) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"sub": "ada", "iss": DefaultIssuer, "aud": DefaultAudience, "exp": time.Now().Add(time.Hour).Unix(), "permissions": []string{"tasks:read"},
	})
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

func (i *issuer) check(s *KeySet, token string) error {
	_, err := (&Tokens{KeySet: s}).Check(i.t.Context(), token)
	return err
}

func TestATokenIsCheckedWithTheKeyThatItNames(t *testing.T) {
	one, two := newKey(t, 2048), newKey(t, 2048)
	i := newIssuer(t)
	i.publish(map[string]*rsa.PrivateKey{"one": one, "two": two})
	s, _ := i.keySet()
	require.Zero(t, i.asked.Load(), "fetched before it was needed")
	a := New(Options{Tokens: &Tokens{KeySet: s}})
	who, err := a.Require(asking("Authorization", "Bearer "+signedAs(t, "two", two)), TasksRead)
	require.NoError(t, err)
	require.Equal(t, "ada", who.Name)
	require.NoError(t, i.check(s, signedAs(t, "one", one)))
	requireFailure(t, i.check(s, signedAs(t, "one", two)), Invalid, "Invalid token")
	require.EqualValues(t, 1, i.asked.Load(), "fetched once")
}

func TestATokenThatNamesNoKeyIsCheckedWithTheOnlyOne(t *testing.T) {
	one, two := newKey(t, 2048), newKey(t, 2048)
	i := newIssuer(t)
	i.publish(map[string]*rsa.PrivateKey{"one": one})
	s, _ := i.keySet()
	require.NoError(t, i.check(s, signedAs(t, "", one)))
	i.publish(map[string]*rsa.PrivateKey{"one": one, "two": two})
	s, _ = i.keySet()
	requireFailure(t, i.check(s, signedAs(t, "", one)), Invalid, "Invalid token")
}

func TestAnUnknownKeyIsLookedForAgainButNotAtEachToken(t *testing.T) {
	one, two := newKey(t, 2048), newKey(t, 2048)
	i := newIssuer(t)
	i.publish(map[string]*rsa.PrivateKey{"one": one})
	s, c := i.keySet()
	require.NoError(t, i.check(s, signedAs(t, "one", one)))
	i.publish(map[string]*rsa.PrivateKey{"two": two}) // the keys are changed
	for range 5 {
		requireFailure(t, i.check(s, signedAs(t, "two", two)), Invalid, "Invalid token")
	}
	require.EqualValues(t, 1, i.asked.Load(), "too soon for another fetch")
	c.add(fetchPause)
	require.NoError(t, i.check(s, signedAs(t, "two", two)))
	require.EqualValues(t, 2, i.asked.Load())
	requireFailure(t, i.check(s, signedAs(t, "one", one)), Invalid, "Invalid token")
}

func TestKeysAreFetchedAgainAfterAnHourAndUsedForADayWhileTheyCannotBe(t *testing.T) {
	key := newKey(t, 2048)
	i := newIssuer(t)
	i.publish(map[string]*rsa.PrivateKey{"one": key})
	s, c := i.keySet()
	token := signedAs(t, "one", key)
	require.NoError(t, i.check(s, token))
	c.add(refreshKeys - time.Second)
	require.NoError(t, i.check(s, token))
	require.EqualValues(t, 1, i.asked.Load())
	i.answer("")
	c.add(time.Minute)
	require.NoError(t, i.check(s, token), "the known key while the issuer is down")
	require.EqualValues(t, 2, i.asked.Load())
	require.NoError(t, i.check(s, token))
	require.EqualValues(t, 2, i.asked.Load(), "not at each token")
	c.add(forgetKeys)
	require.ErrorIs(t, i.check(s, token), ErrKeysUnavailable)
	i.publish(map[string]*rsa.PrivateKey{"one": key})
	require.ErrorIs(t, i.check(s, token), ErrKeysUnavailable, "too soon for another fetch")
	c.add(fetchPause)
	require.NoError(t, i.check(s, token))
}

func TestAKeySetThatCannotBeFetchedIsNotTheTokensFault(t *testing.T) {
	key := newKey(t, 2048)
	many := strings.Repeat(`{"kty":"EC"},`, maxKeys+1)
	for what, body := range map[string]string{
		"no answer": "", "no JSON": "<html>", "no keys": `{"keys": []}`, "another kind": `{"keys": [{"kty": "EC", "kid": "one"}]}`,
		"too many": `{"keys": [` + strings.TrimSuffix(many, ",") + `]}`, "too large": `{"keys": []}` + strings.Repeat(" ", maxKeySet),
	} {
		i := newIssuer(t)
		i.answer(body)
		s, _ := i.keySet()
		_, err := New(Options{Tokens: &Tokens{KeySet: s}}).Require(asking("Authorization", "Bearer "+signedAs(t, "one", key)), TasksRead)
		require.ErrorIs(t, err, ErrKeysUnavailable, what)
		var f *Failure
		require.False(t, errors.As(err, &f), what)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestTokensThatComeTogetherShareOneFetch(t *testing.T) {
	key := newKey(t, 2048)
	i := newIssuer(t)
	i.publish(map[string]*rsa.PrivateKey{"one": key})
	i.hold = make(chan struct{})
	s, _ := i.keySet()
	token := signedAs(t, "one", key)
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- i.check(s, token) }()
	}
	// One that waits ends with its request.
	require.Eventually(t, func() bool { return i.asked.Load() == 1 }, 10*time.Second, time.Millisecond)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := (&Tokens{KeySet: s}).Check(ended, token)
	require.ErrorIs(t, err, context.Canceled)
	close(i.hold)
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	require.EqualValues(t, 1, i.asked.Load())
}

func TestOnlyKeysForSignaturesAreTaken(t *testing.T) {
	good := newKey(t, 2048)
	for what, change := range map[string]map[string]any{
		"encryption": {"use": "enc"}, "another algorithm": {"alg": "RS512"}, "signing": {"key_ops": []string{"sign"}},
		"no number": {"n": "!"}, "no exponent": {"e": ""}, "an even exponent": {"e": "Ag"}, "a short key": {"n": "AQAB"},
	} {
		key := jwk("one", good)
		for name, value := range change {
			key[name] = value
		}
		other := newKey(t, 2048)
		data, err := json.Marshal(map[string]any{"keys": []any{key, jwk("other", other)}})
		require.NoError(t, err)
		keys, err := parseKeySet(data)
		require.NoError(t, err, what)
		require.Len(t, keys, 1, what)
		require.True(t, other.PublicKey.Equal(keys["other"]), what)
	}
}

func TestARedirectOfAKeySetIsNotFollowed(t *testing.T) {
	key := newKey(t, 2048)
	i := newIssuer(t)
	i.publish(map[string]*rsa.PrivateKey{"one": key})
	elsewhere := httptest.NewServer(http.RedirectHandler(i.url, http.StatusFound))
	defer elsewhere.Close()
	s, err := NewKeySet(elsewhere.URL)
	require.NoError(t, err)
	defer s.Close()
	require.ErrorIs(t, i.check(s, signedAs(t, "one", key)), ErrKeysUnavailable)
	require.Zero(t, i.asked.Load())
}

func TestAKeySetNeedsAURL(t *testing.T) {
	for _, text := range []string{"", "keys.json", "ftp://idp/keys", "https://", "http://%zz"} {
		_, err := NewKeySet(text)
		require.ErrorContains(t, err, "is not an http or https URL", text)
	}
}
