package auth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dev is a development issuer with its key at hand, to forge with.
type dev struct {
	dir      string
	issuer   *auth.Issuer
	verifier *auth.Verifier
	key      *ecdsa.PrivateKey
	kid      string
}

func newDev(t testing.TB) *dev {
	t.Helper()
	d := &dev{dir: filepath.Join(t.TempDir(), "data")}
	var err error
	if d.issuer, err = auth.OpenIssuer(d.dir); err != nil {
		t.Fatal(err)
	}
	if d.verifier, err = auth.NewVerifier(t.Context(), auth.Config{Dev: true, DataDir: d.dir}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(d.dir, "dev-issuer.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	if d.key, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
		t.Fatal(err)
	}
	token, err := d.issuer.Issue(auth.Principal{Tenant: "acme", Subject: "u"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	d.kid = parsed.Header["kid"].(string)
	return d
}

func goodClaims() jwt.MapClaims {
	now := time.Now()
	return jwt.MapClaims{
		"iss": auth.DevIssuer, "aud": auth.DevAudience, "sub": "owner@acme.test", "tenant": "acme",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

func sign(t *testing.T, method jwt.SigningMethod, header map[string]any, claims jwt.Claims, key any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for k, v := range header {
		token.Header[k] = v
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// raw signs claims as they are written.
func (d *dev) raw(t testing.TB, claims string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"ES256","kid":"`+d.kid+`"}`)) + "." + encode([]byte(claims))
	signature, err := jwt.SigningMethodES256.Sign(text, d.key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + encode(signature)
}

// What a token may say beside what it must.
func TestVerifier_Verify_accepts(t *testing.T) {
	d := newDev(t)
	now := time.Now()
	for name, change := range map[string]map[string]any{
		"expired_within_the_skew": {"exp": now.Add(-20 * time.Second).Unix()},
		"begins_within_the_skew":  {"nbf": now.Add(20 * time.Second).Unix()},
		"several_audiences":       {"aud": []string{"account", auth.DevAudience}},
		"type_of_an_access_token": {"typ": "Bearer"},
		"claims_we_do_not_know":   {"scope": "openid", "azp": "dashboard", "acr": "1", "TENANT": "globex"},
		"an_address_of_nonsense":  {"email": "a\x00b"},
	} {
		t.Run(name, func(t *testing.T) {
			claims := goodClaims()
			for k, v := range change {
				claims[k] = v
			}
			header := map[string]any{"kid": d.kid, "typ": "at+jwt", "x5t": "ignored", "jku": "https://evil.test/keys", "x5u": "https://evil.test"}
			got, err := d.verifier.Verify(t.Context(), sign(t, jwt.SigningMethodES256, header, claims, d.key))
			if err != nil || got.Tenant != "acme" || got.Email != "" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestIssuer_Issue_verifies(t *testing.T) {
	d := newDev(t)
	for _, want := range []auth.Principal{
		{Tenant: "acme", Subject: "owner@acme.test", Email: "owner@acme.test", Roles: []string{"System Owner"}},
		{Subject: "executor", Kind: auth.Service},
		{Tenant: "globex", Subject: "crm", Kind: auth.Service},
		{Tenant: "globex", Subject: "crm", Kind: auth.Client},
		{Subject: "crm", Kind: auth.Client},
	} {
		token, err := d.issuer.Issue(want, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time from memory
			got, err := d.verifier.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	}
	for _, bad := range []auth.Principal{{Subject: "u"}, {Tenant: "Acme", Subject: "u"}, {Tenant: "acme"}, {Tenant: "a.b", Subject: "u"}} {
		if _, err := d.issuer.Issue(bad, time.Minute); err == nil {
			t.Errorf("Issue(%+v): got a token, want an error", bad)
		}
	}
}

func TestVerifier_Verify_refuses(t *testing.T) {
	d := newDev(t)
	with := func(change map[string]any) string {
		claims := goodClaims()
		for k, v := range change {
			if v == nil {
				delete(claims, k)
			} else {
				claims[k] = v
			}
		}
		return sign(t, jwt.SigningMethodES256, map[string]any{"kid": d.kid}, claims, d.key)
	}
	header := func(change map[string]any) string {
		h := map[string]any{"kid": d.kid}
		for k, v := range change {
			h[k] = v
		}
		return sign(t, jwt.SigningMethodES256, h, goodClaims(), d.key)
	}
	if _, err := d.verifier.Verify(t.Context(), with(nil)); err != nil {
		t.Fatalf("the token that the cases change is not good: %v", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&d.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := with(nil)
	now := time.Now()
	const plain = "token not accepted"
	cases := map[string]struct{ token, message string }{
		"alg_none":           {sign(t, jwt.SigningMethodNone, map[string]any{"kid": d.kid}, goodClaims(), jwt.UnsafeAllowNoneSignatureType), plain},
		"hs256_public_pem":   {sign(t, jwt.SigningMethodHS256, map[string]any{"kid": d.kid}, goodClaims(), publicPEM), plain},
		"hs256_public_der":   {sign(t, jwt.SigningMethodHS256, map[string]any{"kid": d.kid}, goodClaims(), public), plain},
		"strangers_key":      {sign(t, jwt.SigningMethodES256, map[string]any{"kid": d.kid}, goodClaims(), stranger), plain},
		"signature_cut":      {good[:len(good)-4], plain},
		"signature_missing":  {good[:strings.LastIndexByte(good, '.')+1], plain},
		"wrong_audience":     {with(map[string]any{"aud": "other"}), plain},
		"no_audience":        {with(map[string]any{"aud": nil}), plain},
		"wrong_issuer":       {with(map[string]any{"iss": "https://evil.test"}), plain},
		"no_issuer":          {with(map[string]any{"iss": nil}), plain},
		"expired":            {with(map[string]any{"exp": now.Add(-time.Minute).Unix()}), plain},
		"no_expiry":          {with(map[string]any{"exp": nil}), plain},
		"expired_31_s_ago":   {with(map[string]any{"exp": now.Add(-31 * time.Second).Unix()}), plain},
		"audience_prefix":    {with(map[string]any{"aud": auth.DevAudience + "-2"}), plain},
		"issuer_with_slash":  {with(map[string]any{"iss": auth.DevIssuer + "/"}), plain},
		"issuer_upper_case":  {with(map[string]any{"iss": strings.ToUpper(auth.DevIssuer)}), plain},
		"issuer_list":        {with(map[string]any{"iss": []string{auth.DevIssuer}}), plain},
		"not_yet":            {with(map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}), plain},
		"kid_path":           {header(map[string]any{"kid": "../../x"}), plain},
		"kid_missing":        {header(map[string]any{"kid": ""}), plain},
		"kid_no_text":        {header(map[string]any{"kid": 7}), plain},
		"jku":                {sign(t, jwt.SigningMethodES256, map[string]any{"kid": "evil", "jku": "https://evil.test/keys"}, goodClaims(), stranger), plain},
		"x5u":                {sign(t, jwt.SigningMethodES256, map[string]any{"kid": d.kid, "x5u": "https://evil.test/cert"}, goodClaims(), stranger), plain},
		"jwk":                {sign(t, jwt.SigningMethodES256, map[string]any{"kid": d.kid, "jwk": ecJWK(d.kid, &stranger.PublicKey)}, goodClaims(), stranger), plain},
		"jwk_without_kid":    {sign(t, jwt.SigningMethodES256, map[string]any{"jwk": ecJWK("", &stranger.PublicKey)}, goodClaims(), stranger), plain},
		"crit":               {header(map[string]any{"crit": []string{"b64"}}), plain},
		"id_token_type":      {header(map[string]any{"typ": "id+jwt"}), plain},
		"id_token_claim":     {with(map[string]any{"typ": "ID"}), plain},
		"id_token_nonce":     {with(map[string]any{"nonce": "n"}), plain},
		"id_token_at_hash":   {with(map[string]any{"at_hash": "h"}), plain},
		"id_token_c_hash":    {with(map[string]any{"c_hash": "h"}), plain},
		"refresh_token":      {with(map[string]any{"typ": "Refresh"}), plain},
		"logout_token_type":  {header(map[string]any{"typ": "logout+jwt"}), plain},
		"logout_token":       {with(map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}), plain},
		"bound_to_a_key":     {with(map[string]any{"cnf": map[string]any{"jkt": "x"}}), plain},
		"type_no_text":       {header(map[string]any{"typ": []string{"at+jwt"}}), plain},
		"tenant_other_case":  {with(map[string]any{"tenant": nil, "Tenant": "acme"}), "no tenant in token"},
		"tenant_twice":       {d.raw(t, `{"iss":"`+auth.DevIssuer+`","aud":"`+auth.DevAudience+`","sub":"u","exp":9999999999,"tenant":"acme","tenant":"globex"}`), plain},
		"roles_too_many":     {with(map[string]any{"roles": make([]string, 201)}), plain},
		"roles_no_list":      {with(map[string]any{"roles": "System Owner"}), plain},
		"unknown_kind":       {with(map[string]any{"uc_kind": "root"}), plain},
		"no_tenant":          {with(map[string]any{"tenant": nil}), "no tenant in token"},
		"tenant_wildcard":    {with(map[string]any{"tenant": "*"}), plain},
		"tenant_two_tokens":  {with(map[string]any{"tenant": "a.b"}), plain},
		"tenant_upper_case":  {with(map[string]any{"tenant": "ACME"}), plain},
		"tenant_new_line":    {with(map[string]any{"tenant": "acme\n"}), plain},
		"tenant_no_text":     {with(map[string]any{"tenant": []string{"acme"}}), plain},
		"no_subject":         {with(map[string]any{"sub": nil}), plain},
		"subject_with_NUL":   {with(map[string]any{"sub": "a\x00b"}), plain},
		"dots":               {strings.Repeat(".", 100_000), plain},
		"megabyte":           {strings.Repeat("a", 1<<20), plain},
		"empty":              {"", plain},
		"text":               {"no token at all", plain},
		"good_with_trailing": {good + " ", plain},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := d.verifier.Verify(t.Context(), c.token)
			f, ok := fault.As(err)
			if !ok || f.Kind != fault.KindUnauthenticated || f.Reason != fault.ReasonTokenInvalid {
				t.Fatalf("got %+v, %v; want UNAUTHENTICATED TOKEN_INVALID", p, err)
			}
			if f.Message != c.message || f.Metadata != nil {
				t.Errorf("got message %q and metadata %v, want %q alone", f.Message, f.Metadata, c.message)
			}
		})
	}
}

func TestVerifier_memory_ends_with_the_token(t *testing.T) {
	d := newDev(t)
	synctest.Test(t, func(t *testing.T) {
		token, err := d.issuer.Issue(auth.Principal{Tenant: "acme", Subject: "u"}, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.verifier.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		<-time.After(41 * time.Second) // its life and the leeway
		if _, err := d.verifier.Verify(t.Context(), token); err == nil {
			t.Error("an expired token is accepted from memory")
		}
	})
}

func TestNewVerifier_refuses_to_trust_nobody(t *testing.T) {
	if _, err := auth.NewVerifier(t.Context(), auth.Config{DataDir: t.TempDir()}); err == nil {
		t.Error("neither an issuer nor development: got a verifier, want an error")
	}
	if _, err := auth.NewTokenSource(t.Context(), auth.Config{DataDir: t.TempDir()}, "executor"); err == nil {
		t.Error("neither an issuer nor development: got a token source, want an error")
	}
}

func TestOpenIssuer_together(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	tokens := make([]string, 16)
	errs := make([]error, len(tokens))
	var wg sync.WaitGroup
	for i := range tokens {
		wg.Go(func() {
			issuer, err := auth.OpenIssuer(dir)
			if err != nil {
				errs[i] = err
				return
			}
			tokens[i], errs[i] = issuer.Issue(auth.Principal{Tenant: "acme", Subject: "u"}, time.Minute)
		})
	}
	wg.Wait()
	v, err := auth.NewVerifier(t.Context(), auth.Config{Dev: true, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i, token := range tokens {
		if errs[i] != nil {
			t.Fatalf("process %d: %v", i, errs[i])
		}
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("process %d signed with another key: %v", i, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the directory holds %d files, want the key alone", len(entries))
	}
	info, err := entries[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode: got %v, want 0600", got)
	}
	if err := os.Chmod(filepath.Join(dir, entries[0].Name()), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.OpenIssuer(dir); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a key that others may read: got %v, want an error that names the mode", err)
	}
}

func TestBearer(t *testing.T) {
	cases := map[string]struct {
		values []string
		want   string
		reason fault.Reason
	}{
		"none":       {nil, "", fault.ReasonTokenMissing},
		"empty":      {[]string{""}, "", fault.ReasonTokenMissing},
		"bearer":     {[]string{"Bearer abc"}, "abc", ""},
		"lower_case": {[]string{"bearer abc"}, "abc", ""},
		"basic":      {[]string{"Basic abc"}, "", fault.ReasonTokenInvalid},
		"bare":       {[]string{"abc"}, "", fault.ReasonTokenInvalid},
		"two":        {[]string{"Bearer a", "Bearer b"}, "", fault.ReasonTokenInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := auth.Bearer(c.values...)
			f, _ := fault.As(err)
			if got != c.want || c.reason == "" && err != nil || c.reason != "" && (f == nil || f.Reason != c.reason) {
				t.Errorf("got %q, %v; want %q, reason %q", got, err, c.want, c.reason)
			}
		})
	}
}

func TestTokenSource_dev_renews(t *testing.T) {
	d := newDev(t)
	synctest.Test(t, func(t *testing.T) {
		source, err := auth.NewTokenSource(t.Context(), auth.Config{Dev: true, DataDir: d.dir}, "executor")
		if err != nil {
			t.Fatal(err)
		}
		token := func() string {
			t.Helper()
			s, err := source.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		first := token()
		if token() != first {
			t.Error("a fresh token is not kept")
		}
		for range 20 {
			<-time.After(5 * time.Minute)
			p, err := d.verifier.Verify(t.Context(), token())
			if err != nil {
				t.Fatal(err)
			}
			if p.Kind != auth.Service || p.Subject != "executor" || p.Tenant != "" {
				t.Fatalf("got %+v, want the service executor", p)
			}
		}
		if token() == first {
			t.Error("the token of an hour ago is still given")
		}
	})
}

func newKeys(t *testing.T) (*rsa.PrivateKey, ed25519.PrivateKey) {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return r, e
}
