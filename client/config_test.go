package client_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/client"
)

func fromEnv(t *testing.T, c client.Config, env map[string]string) client.Config {
	t.Helper()
	c, err := c.FromEnv(func(name string) string { return env[name] })
	require.NoError(t, err)
	return c
}

func TestTheEnvironmentSaysWhereAndWhoAndHowLong(t *testing.T) {
	t.Parallel()
	require.Equal(t, client.Config{}, fromEnv(t, client.Config{}, nil))
	require.Equal(t,
		client.Config{URL: "http://o:1", Token: "tok", APIKey: "key", APIKeyHeader: "X-K", Timeout: 1500 * time.Millisecond},
		fromEnv(t, client.Config{}, map[string]string{
			"TASKER_ORCHESTRATION_URL": "http://o:1", "TASKER_WORKER_URL": "http://w:1", "TASKER_AUTH_TOKEN": "tok",
			"TASKER_API_KEY": "key", "TASKER_API_KEY_HEADER": "X-K", "TASKER_ORCHESTRATION_TIMEOUT_MS": "1500",
		}))
}

func TestWhatIsGivenWinsOverTheEnvironment(t *testing.T) {
	t.Parallel()
	given := client.Config{URL: "http://mine", Token: "a", APIKey: "b", APIKeyHeader: "c", Timeout: time.Second}
	require.Equal(t, given, fromEnv(t, given, map[string]string{
		"TASKER_ORCHESTRATION_URL": "http://o", "TASKER_AUTH_TOKEN": "x", "TASKER_API_KEY": "y", "TASKER_API_KEY_HEADER": "z",
		"TASKER_ORCHESTRATION_TIMEOUT_MS": "soon",
	}))
}

func TestTheTokenOfTheSideThatIsAskedComesFirst(t *testing.T) {
	t.Parallel()
	tokens := map[string]string{
		"TASKER_AUTH_TOKEN": "both", "TASKER_ORCHESTRATION_AUTH_TOKEN": "orchestration", "TASKER_WORKER_AUTH_TOKEN": "worker",
	}
	require.Equal(t, client.Secret("orchestration"), fromEnv(t, client.Config{}, tokens).Token)
	tokens["TASKER_WORKER_URL"] = "http://w"
	require.Equal(t, client.Secret("worker"), fromEnv(t, client.Config{}, tokens).Token)
	tokens["TASKER_ORCHESTRATION_URL"] = "http://o"
	require.Equal(t, client.Secret("orchestration"), fromEnv(t, client.Config{}, tokens).Token)
	delete(tokens, "TASKER_ORCHESTRATION_AUTH_TOKEN")
	require.Equal(t, client.Secret("both"), fromEnv(t, client.Config{}, tokens).Token)
}

func TestATimeoutThatIsNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"soon", "0", "-1", "1.5", "99999999999"} {
		_, err := client.Config{}.FromEnv(func(name string) string {
			return map[string]string{"TASKER_ORCHESTRATION_TIMEOUT_MS": text}[name]
		})
		require.EqualError(t, err, fmt.Sprintf("TASKER_ORCHESTRATION_TIMEOUT_MS is %q; it must be a number of milliseconds from 1 on", text))
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"ftp://host":               `"ftp://host" is not the address of a taskerpy: the scheme is "ftp"; write it as http://127.0.0.1:8083`,
		"http://":                  `"http://" is not the address of a taskerpy: it has no host; write it as http://127.0.0.1:8083`,
		"http://h?x=1":             `"http://h?x=1" is not the address of a taskerpy: it has a query; write it as http://127.0.0.1:8083`,
		"http://h:port":            `"http://h:port" is not the address of a taskerpy: it is not a URL; write it as http://127.0.0.1:8083`,
		"http://me:s3cret@h?x":     `"http://me:xxxxx@h?x" is not the address of a taskerpy: it has a query; write it as http://127.0.0.1:8083`,
		"http://me:s3cret@h:port/": `"•••@h:port/" is not the address of a taskerpy: it is not a URL; write it as http://127.0.0.1:8083`,
	} {
		_, err := client.New(client.Config{URL: url})
		require.EqualError(t, err, want)
	}
}

func TestAddressesAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "127.0.0.1:8083", "localhost", " http://h/ ", "https://[::1]:1/x", "HTTP://h"} {
		_, err := client.New(client.Config{URL: url})
		require.NoError(t, err, url)
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	c := client.Config{Token: "s3cret", APIKey: "s3cret"}
	data, err := json.Marshal(c)
	require.NoError(t, err)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%q", c.Token), string(data)} {
		require.NotContains(t, text, "s3cret")
		require.Contains(t, text, "•••")
	}
	require.Empty(t, client.Secret("").String())
}
