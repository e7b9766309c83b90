package cli

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/server/auth"
)

// authenticator knows the clients of the HTTP server as the configuration
// says; nil when nobody is asked.
func authenticator(c config.Auth) (*auth.Authenticator, error) {
	o := auth.Options{APIKeyHeader: c.KeyHeader}
	if c.JWKSURL != "" {
		if c.PublicKey != "" {
			return nil, usagef("auth_public_key and auth_jwks_url are both set: tokens are checked with the keys of one of them")
		}
		keys, err := auth.NewKeySet(c.JWKSURL)
		if err != nil {
			return nil, usagef("auth_jwks_url: %w", err)
		}
		o.Tokens = &auth.Tokens{KeySet: keys, Issuer: c.Issuer, Audience: c.Audience, Strict: c.Strict}
	}
	if c.PublicKey != "" {
		key, err := publicKey(c.PublicKey)
		if err != nil {
			return nil, usage(err)
		}
		o.Tokens = &auth.Tokens{Key: key, Issuer: c.Issuer, Audience: c.Audience, Strict: c.Strict}
	}
	if c.Keys != "" {
		keys, err := auth.ReadAPIKeys(c.Keys)
		if err != nil {
			return nil, usage(err)
		}
		o.APIKeys = keys
	}
	for i, k := range c.APIKeys {
		key, err := auth.ParseAPIKey(k.Key, k.Description, k.Permissions)
		if err != nil {
			return nil, usagef("worker.web.auth.api_keys[%d] (%q): %w", i, k.Description, err)
		}
		o.APIKeys = append(o.APIKeys, key)
	}
	if c.APIKey != "" {
		o.APIKeys = append(o.APIKeys, auth.NewAPIKey(c.APIKey, "auth_api_key", auth.Everything()))
	}
	if o.Tokens == nil && len(o.APIKeys) == 0 {
		return nil, nil //nolint:nilnil // nobody is asked
	}
	return auth.New(o), nil
}

// ownHeaders let clients in this process's handlers use its REST API. They are
// not in the configuration nor in the environment, where somebody could see
// them or a child process inherit them.
func ownHeaders(known *auth.Authenticator) map[string]string {
	if known == nil {
		return nil
	}
	header, secret := known.OwnKey()
	return map[string]string{header: secret}
}

// publicKey reads a key from its file, or is the key itself.
func publicKey(text string) (*rsa.PublicKey, error) {
	if config.IsPEM(text) {
		return auth.ParsePublicKey("TASKER_JWT_PUBLIC_KEY", []byte(text))
	}
	return auth.ReadPublicKey(text)
}

func (a *app) authCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Make and check credentials for the HTTP server",
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.generateKeysCommand(), a.generateTokenCommand(), a.validateTokenCommand(), a.showPermissionsCommand())
	return cmd
}

// The files of a key pair.
const (
	privateKeyFile = "private.pem"
	publicKeyFile  = "public.pem"
)

func (a *app) generateKeysCommand() *cobra.Command {
	dir, bits := "./keys", 2048
	cmd := &cobra.Command{
		Use: "generate-keys", Short: "Make an RSA key pair for tokens", Args: none,
		RunE: func(*cobra.Command, []string) error { return a.generateKeys(dir, bits) },
	}
	cmd.Flags().StringVarP(&dir, "output", "o", dir, "write "+privateKeyFile+" and "+publicKeyFile+" to the folder `DIR`")
	cmd.Flags().IntVarP(&bits, "key-size", "k", bits, "bits of the key")
	return cmd
}

func (a *app) generateKeys(dir string, bits int) error {
	if bits < 2048 || bits > 8192 {
		return usagef("auth generate-keys: --key-size must be from 2048 to 8192, not %d", bits)
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return environment(fmt.Errorf("make a key: %w", err))
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return usage(err)
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
		mode       os.FileMode
	}{{privateKeyFile, "PRIVATE KEY", private, 0o600}, {publicKeyFile, "PUBLIC KEY", public, 0o644}} {
		path := filepath.Join(dir, f.name)
		if err := writeNew(path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), f.mode); err != nil {
			return usage(err)
		}
		if _, err := fmt.Fprintln(a.out, "wrote", path); err != nil {
			return err
		}
	}
	return nil
}

// writeNew writes a file that must not exist: a key is not overwritten by
// mistake.
func writeNew(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func (a *app) generateTokenCommand() *cobra.Command {
	var permissions []string
	subject, private, hours := "tasker-client", filepath.Join("keys", privateKeyFile), 24
	issuer, audience := auth.DefaultIssuer, auth.DefaultAudience
	cmd := &cobra.Command{
		Use: "generate-token", Short: "Make a token with some permissions", Args: none,
		Example: `  taskerpy auth generate-token -p tasks:create,tasks:read --private-key keys/private.pem`,
		RunE: func(*cobra.Command, []string) error {
			return a.generateToken(private, issuer, audience, subject, permissions, time.Duration(hours)*time.Hour)
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&permissions, "permissions", "p", nil, "`PERMISSIONS`, with commas between; tasks:* is all of tasks")
	f.StringVarP(&subject, "subject", "s", subject, "`WHO` the token is for")
	f.StringVar(&private, "private-key", private, "PEM `FILE` of the private key")
	f.IntVarP(&hours, "expires", "e", hours, "`HOURS` that the token is good for")
	f.StringVar(&issuer, "issuer", issuer, "`ISSUER` that it names")
	f.StringVar(&audience, "audience", audience, "`AUDIENCE` that it names")
	return cmd
}

func (a *app) generateToken(private, issuer, audience, subject string, permissions []string, valid time.Duration) error {
	if len(permissions) == 0 {
		return usagef("auth generate-token: --permissions is missing; `taskerpy auth show-permissions` lists them")
	}
	if _, unknown := auth.ParseGrants(permissions); len(unknown) > 0 {
		return usagef("auth generate-token: unknown permission %q; `taskerpy auth show-permissions` lists them", unknown[0])
	}
	if valid <= 0 {
		return usagef("auth generate-token: --expires must be at least 1 hour")
	}
	data, err := os.ReadFile(private)
	if err != nil {
		return usagef("auth generate-token: --private-key: %w", err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(data)
	if err != nil {
		return usagef("auth generate-token: --private-key: %s is not the PEM file of an RSA private key: %w", private, err)
	}
	token, err := auth.Sign(key, issuer, audience, subject, permissions, valid, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, token)
	return err
}

func (a *app) validateTokenCommand() *cobra.Command {
	var token string
	public, issuer, audience := filepath.Join("keys", publicKeyFile), auth.DefaultIssuer, auth.DefaultAudience
	cmd := &cobra.Command{
		Use: "validate-token", Short: "Check a token and print what it says", Args: none,
		RunE: func(*cobra.Command, []string) error {
			key, err := auth.ReadPublicKey(public)
			if err != nil {
				return usagef("auth validate-token: --public-key: %w", err)
			}
			claims, err := (&auth.Tokens{Key: key, Issuer: issuer, Audience: audience}).Check(context.Background(), strings.TrimSpace(token))
			if err != nil {
				return usagef("auth validate-token: %w", err)
			}
			return a.printJSON(claims)
		},
	}
	cmd.Flags().StringVarP(&token, "token", "t", "", "the `TOKEN`")
	cmd.Flags().StringVar(&public, "public-key", public, "PEM `FILE` of the public key")
	cmd.Flags().StringVar(&issuer, "issuer", issuer, "`ISSUER` that it must name")
	cmd.Flags().StringVar(&audience, "audience", audience, "`AUDIENCE` that it must name")
	return cmd
}

func (a *app) showPermissionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show-permissions", Short: "List the permissions that tokens and API keys can have", Args: none,
		RunE: func(*cobra.Command, []string) error {
			resource := ""
			for _, p := range auth.Permissions() {
				if p.Resource() != resource {
					resource = p.Resource()
					if _, err := fmt.Fprintf(a.out, "%s:*\n", resource); err != nil {
						return err
					}
				}
				if _, err := fmt.Fprintf(a.out, "  %s\n", p); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
