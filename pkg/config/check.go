package config

import (
	"errors"
	"net"
	"net/url"
)

// check finds settings that contradict one another.
func (s *Settings) check() error {
	for _, rule := range []struct {
		broken bool
		text   string
	}{
		{s.OIDCIssuer != "" && s.OIDCAudience == "", "UC_OIDC_AUDIENCE: is required with UC_OIDC_ISSUER"},
		{s.OIDCIssuer != "" && !securedURL(s.OIDCIssuer), "UC_OIDC_ISSUER: must begin with https://, except on this machine"},
		{s.OIDCClientID != "" && s.OIDCClientSecret == "", "UC_OIDC_CLIENT_SECRET: is required with UC_OIDC_CLIENT_ID"},
		{s.LoginClientID != "" && s.OIDCIssuer == "", "UC_OIDC_ISSUER: is required with UC_LOGIN_CLIENT_ID"},
		{s.LoginClientID != "" && s.PublicURL == "", "UC_PUBLIC_URL: is required with UC_LOGIN_CLIENT_ID"},
		// An ID token names its client as audience. Were that our audience too, less would tell it from an access token.
		{s.LoginClientID != "" && s.LoginClientID == s.OIDCAudience, "UC_OIDC_AUDIENCE: must differ from UC_LOGIN_CLIENT_ID"},
		{(s.TLSCertFile == "") != (s.TLSKeyFile == ""), "UC_TLS_CERT_FILE, UC_TLS_KEY_FILE: each needs the other"},
		{s.TLSCertFile == "" && s.TLSClientCAFile != "", "UC_TLS_CERT_FILE: is required with UC_TLS_CLIENT_CA_FILE"},
		{(s.HTTPTLSCertFile == "") != (s.HTTPTLSKeyFile == ""), "UC_HTTP_TLS_CERT_FILE, UC_HTTP_TLS_KEY_FILE: each needs the other"},
	} {
		if rule.broken {
			return errors.New(rule.text)
		}
	}
	return nil
}

// securedURL reports whether what is sent there cannot be read or changed on the way.
func securedURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkOrigin wants scheme and host alone, secured unless it is this machine.
func checkOrigin(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme+"://"+u.Host != text || !securedURL(text) {
		return errors.New("must be https://host, or http://host:port on this machine, without a path")
	}
	return nil
}
