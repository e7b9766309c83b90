package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

func newKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return key
}

func signed(t *testing.T, key *rsa.PrivateKey, permissions ...string) string {
	t.Helper()
	token, err := Sign(key, DefaultIssuer, DefaultAudience, "ada", permissions, time.Hour, time.Now())
	require.NoError(t, err)
	return token
}

// asking is a request with these headers, given as name and value.
func asking(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/v1/tasks", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func requireFailure(t *testing.T, err error, reason Reason, mentions string) {
	t.Helper()
	var f *Failure
	require.True(t, errors.As(err, &f), "%v", err)
	require.Equal(t, reason, f.Reason, f.Error())
	require.Contains(t, f.Message, mentions)
}

func TestATokenGrantsWhatItSays(t *testing.T) {
	key := newKey(t, 2048)
	a := New(Options{Tokens: &Tokens{Key: &key.PublicKey}})
	r := asking("Authorization", "Bearer "+signed(t, key, "tasks:read", "dlq:*"))
	for p, want := range map[Permission]bool{
		TasksRead: true, DLQRead: true, DLQUpdate: true, DLQStats: true, TasksCreate: false, TasksContextRead: false, StepsRead: false,
	} {
		who, err := a.Require(r, p)
		require.Equal(t, "ada", who.Name)
		if want {
			require.NoError(t, err, p)
		} else {
			requireFailure(t, err, Forbidden, "Missing required permission: "+string(p))
		}
	}
}

func TestTheSchemeOfATokenMayBeWrittenInAnyCase(t *testing.T) {
	key := newKey(t, 2048)
	a := New(Options{Tokens: &Tokens{Key: &key.PublicKey}})
	_, err := a.Identify(asking("Authorization", "bearer "+signed(t, key)))
	require.NoError(t, err)
}

func TestTokensThatAreNotOursAreRefused(t *testing.T) {
	key, other := newKey(t, 2048), newKey(t, 2048)
	now := time.Now()
	sign := func(key *rsa.PrivateKey, issuer, audience string, valid time.Duration) string {
		token, err := Sign(key, issuer, audience, "ada", nil, valid, now)
		require.NoError(t, err)
		return token
	}
	forever, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": DefaultIssuer, "aud": DefaultAudience}).SignedString(key)
	require.NoError(t, err)
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"iss": DefaultIssuer, "aud": DefaultAudience, "exp": now.Add(time.Hour).Unix()}).
		SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	confused, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": DefaultIssuer, "aud": DefaultAudience, "exp": now.Add(time.Hour).Unix()}).
		SignedString(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	require.NoError(t, err)

	a := New(Options{Tokens: &Tokens{Key: &key.PublicKey}})
	for what, c := range map[string]struct {
		token  string
		reason Reason
	}{
		"another key":             {sign(other, DefaultIssuer, DefaultAudience, time.Hour), Invalid},
		"another issuer":          {sign(key, "somebody", DefaultAudience, time.Hour), Invalid},
		"another audience":        {sign(key, DefaultIssuer, "somewhere", time.Hour), Invalid},
		"the past":                {sign(key, DefaultIssuer, DefaultAudience, -time.Minute), Expired},
		"no expiry":               {forever, Invalid},
		"no signature":            {none, Invalid},
		"the public key as HS256": {confused, Invalid},
		"words":                   {"hello", Malformed},
		"nothing":                 {"", Malformed},
	} {
		_, err := a.Identify(asking("Authorization", "Bearer "+c.token))
		var f *Failure
		require.True(t, errors.As(err, &f), what)
		require.Equal(t, c.reason, f.Reason, "%s: %v", what, err)
	}
}

func TestIssuerAndAudienceMayBeChosen(t *testing.T) {
	key := newKey(t, 2048)
	token, err := Sign(key, "idp", "shop", "ada", []string{"tasks:list"}, time.Hour, time.Now())
	require.NoError(t, err)
	c, err := (&Tokens{Key: &key.PublicKey, Issuer: "idp", Audience: "shop"}).Check(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, []string{"tasks:list"}, c.Permissions)
	require.Equal(t, "ada", c.Subject)
	require.NotNil(t, c.IssuedAt)
}

func TestUnknownPermissionsAreIgnoredUnlessStrict(t *testing.T) {
	key := newKey(t, 2048)
	for _, word := range []string{"tasks:fly", "*", "planes:*", "tasks"} {
		r := asking("Authorization", "Bearer "+signed(t, key, "tasks:read", word))
		who, err := New(Options{Tokens: &Tokens{Key: &key.PublicKey}}).Identify(r)
		require.NoError(t, err)
		require.True(t, who.Grants.Allow(TasksRead))
		require.False(t, who.Grants.Allow(TasksCreate), word)
		_, err = New(Options{Tokens: &Tokens{Key: &key.PublicKey, Strict: true}}).Identify(r)
		requireFailure(t, err, Invalid, word)
	}
}

func TestAnAPIKeyGrantsWhatItsEntrySays(t *testing.T) {
	reader, _ := ParseGrants([]string{"tasks:read"})
	a := New(Options{APIKeys: []APIKey{NewAPIKey("open sesame", "dashboard", reader), NewAPIKey("master", "", Everything())}})
	who, err := a.Require(asking("X-API-Key", "open sesame"), TasksRead)
	require.NoError(t, err)
	require.Equal(t, "dashboard", who.Name)
	_, err = a.Require(asking("X-API-Key", "open sesame"), TasksCreate)
	requireFailure(t, err, Forbidden, "Missing required permission: tasks:create")
	for _, p := range Permissions() {
		_, err = a.Require(asking("X-API-Key", "master"), p)
		require.NoError(t, err, p)
	}
	_, err = a.Identify(asking("X-API-Key", "open"))
	requireFailure(t, err, Invalid, "Invalid API key")
}

func TestTheHeaderOfAPIKeysMayBeChosen(t *testing.T) {
	a := New(Options{APIKeys: []APIKey{NewAPIKey("k", "", Everything())}, APIKeyHeader: "X-Shop-Key"})
	_, err := a.Identify(asking("X-Shop-Key", "k"))
	require.NoError(t, err)
	_, err = a.Identify(asking("X-API-Key", "k"))
	requireFailure(t, err, Missing, "X-Shop-Key")
}

func TestATokenComesBeforeAnAPIKey(t *testing.T) {
	key := newKey(t, 2048)
	a := New(Options{Tokens: &Tokens{Key: &key.PublicKey}, APIKeys: []APIKey{NewAPIKey("k", "the key", Everything())}})
	who, err := a.Identify(asking("Authorization", "Bearer "+signed(t, key), "X-API-Key", "k"))
	require.NoError(t, err)
	require.Equal(t, "ada", who.Name)
	_, err = a.Identify(asking("Authorization", "Bearer stale", "X-API-Key", "k"))
	requireFailure(t, err, Malformed, "token")
	who, err = a.Identify(asking("Authorization", "Basic YTpi", "X-API-Key", "k"))
	require.NoError(t, err)
	require.Equal(t, "the key", who.Name)
}

func TestWithoutCredentialsTheWaysAreNamed(t *testing.T) {
	key := newKey(t, 2048)
	keys := []APIKey{NewAPIKey("k", "", Everything())}
	for mentions, o := range map[string]Options{
		"a bearer token in the header Authorization":                                       {Tokens: &Tokens{Key: &key.PublicKey}},
		"an API key in the header X-API-Key":                                               {APIKeys: keys},
		"a bearer token in the header Authorization or an API key in the header X-API-Key": {Tokens: &Tokens{Key: &key.PublicKey}, APIKeys: keys},
	} {
		_, err := New(o).Identify(asking())
		requireFailure(t, err, Missing, mentions)
	}
	_, err := New(Options{Tokens: &Tokens{Key: &key.PublicKey}}).Identify(asking("Authorization", "Basic YTpi"))
	requireFailure(t, err, Malformed, "Bearer")
}

func TestRefusalsTellHowSevereTheyAre(t *testing.T) {
	for reason, want := range map[Reason]struct {
		severity string
		after    time.Duration
	}{
		Missing: {"low", 0}, Expired: {"low", 0}, Malformed: {"medium", 5 * time.Second}, Forbidden: {"medium", 5 * time.Second},
		Invalid: {"high", time.Minute},
	} {
		require.Equal(t, want.severity, reason.Severity(), reason)
		require.Equal(t, want.after, reason.RetryAfter(), reason)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestAPIKeysAreReadFromAFile(t *testing.T) {
	sum := sha256.Sum256([]byte("two"))
	keys, err := ReadAPIKeys(write(t, `
[[key]]
description = "first"
key = "one"
permissions = ["tasks:read"]

[[key]]
description = "second"
sha256 = "`+hex.EncodeToString(sum[:])+`"
permissions = ["steps:*"]
`))
	require.NoError(t, err)
	a := New(Options{APIKeys: keys})
	who, err := a.Require(asking("X-API-Key", "one"), TasksRead)
	require.NoError(t, err)
	require.Equal(t, "first", who.Name)
	_, err = a.Require(asking("X-API-Key", "two"), StepsResolve)
	require.NoError(t, err)
}

func TestMistakesInAFileOfAPIKeysAreToldWithTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"[[key]]\nkey = \"a\"\npermissions = [\"tasks:fly\"]":                  `key 1 (""): unknown permission "tasks:fly"`,
		"[[key]]\ndescription = \"d\"\nkey = \"a\"":                            `key 1 ("d"): it has no permissions`,
		"[[key]]\npermissions = [\"tasks:read\"]":                              "give either key or sha256",
		"[[key]]\nkey = \"a\"\nsha256 = \"b\"\npermissions = [\"tasks:read\"]": "give either key or sha256",
		"[[key]]\nsha256 = \"b\"\npermissions = [\"tasks:read\"]":              "64 hexadecimal digits",
		"[[key]]\nkey = \"a\"\npermision = []":                                 `line 3: unknown key`,
		"[[key]\n":                                                             "line 1, column",
		"":                                                                     "has none",
	} {
		path := write(t, text)
		_, err := ReadAPIKeys(path)
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, path)
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := ReadAPIKeys(filepath.Join(t.TempDir(), "none.toml"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAPublicKeyIsReadFromItsPEMFile(t *testing.T) {
	key := newKey(t, 2048)
	pkix, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	for kind, der := range map[string][]byte{"PUBLIC KEY": pkix, "RSA PUBLIC KEY": x509.MarshalPKCS1PublicKey(&key.PublicKey)} {
		read, err := ReadPublicKey(write(t, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))))
		require.NoError(t, err, kind)
		require.True(t, key.PublicKey.Equal(read))
	}
}

func TestABadPublicKeyIsNamed(t *testing.T) {
	small := newKey(t, 1024)
	der, err := x509.MarshalPKIXPublicKey(&small.PublicKey)
	require.NoError(t, err)
	for want, text := range map[string]string{
		"1024 bits":                             string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"not the PEM file of an RSA public key": "hello",
	} {
		path := write(t, text)
		_, err := ReadPublicKey(path)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, path)
	}
}

func TestTheKeyOfTheProcessItselfIsGoodForTasksAndSteps(t *testing.T) {
	key := newKey(t, 2048)
	a := New(Options{Tokens: &Tokens{Key: &key.PublicKey}, APIKeyHeader: "X-Shop-Key"})
	header, secret := a.OwnKey()
	require.Equal(t, "X-Shop-Key", header)
	for _, p := range Permissions() {
		_, err := a.Require(asking(header, secret), p)
		if p.Resource() == "tasks" || p.Resource() == "steps" {
			require.NoError(t, err, p)
		} else {
			requireFailure(t, err, Forbidden, string(p))
		}
	}
	_, other := New(Options{}).OwnKey()
	require.NotEqual(t, other, secret)
	_, err := a.Identify(asking(header, other))
	requireFailure(t, err, Missing, "send a bearer token in the header Authorization")
}

func TestTheKeyOfTheProcessItselfIsNeverShown(t *testing.T) {
	a := New(Options{APIKeys: []APIKey{NewAPIKey("k", "", Everything())}})
	_, secret := a.OwnKey()
	require.Len(t, a.Options().APIKeys, 1)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(format, a), secret)
	}
}

func TestAPIKeysOfADeploymentsFileHaveItsPermissions(t *testing.T) {
	key, err := ParseAPIKey("sesame", "dashboard", []string{"worker:config_read", "templates:*"})
	require.NoError(t, err)
	require.True(t, key.Grants.Allow(WorkerConfigRead))
	require.True(t, key.Grants.Allow(TemplatesValidate))
	require.False(t, key.Grants.Allow(WorkerTemplatesRead))
	_, err = ParseAPIKey("sesame", "dashboard", []string{"worker:fly"})
	require.ErrorContains(t, err, `unknown permission "worker:fly"`)
}
