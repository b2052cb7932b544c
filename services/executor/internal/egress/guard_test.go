package egress_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"workflow.uniconnect/services/executor/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newGuard(t *testing.T, opts egress.Options) *egress.Guard {
	t.Helper()
	g, err := egress.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGuard_CheckHost(t *testing.T) {
	allow := []string{"10.1.0.0/16", "192.168.7.0/24:8443", "127.0.0.1:9110", "crm.corp.example:8443", "[fd00:1::/32]:443", "localhost:9200"}
	cases := map[string]struct {
		host string
		port uint16
		ok   bool
	}{
		"public_name":            {"api.example.com", 443, true},
		"public_ipv4":            {"93.184.216.34", 443, true},
		"public_ipv4_http":       {"93.184.216.34", 80, true},
		"public_ipv4_other_port": {"93.184.216.34", 22, false},
		"public_ipv6":            {"2606:2800:220:1::1", 443, true},
		"name_with_digits":       {"0x.example", 443, true},
		"metadata":               {"169.254.169.254", 80, false},
		"metadata_ipv6":          {"fd00:ec2::254", 80, false},
		"cloud_host":             {"168.63.129.16", 80, false},
		"loopback":               {"127.0.0.1", 80, false},
		"loopback_high":          {"127.255.0.9", 80, false},
		"loopback_ipv6":          {"::1", 80, false},
		"mapped_loopback":        {"::ffff:127.0.0.1", 80, false},
		"compatible_loopback":    {"::127.0.0.1", 80, false},
		"decimal":                {"2130706433", 80, false},
		"hexadecimal":            {"0x7f.1", 80, false},
		"hexadecimal_last":       {"127.0.0x1", 80, false},
		"hexadecimal_empty":      {"0x", 80, false},
		"octal":                  {"0177.0.0.1", 80, false},
		"short":                  {"127.1", 80, false},
		"trailing_dot":           {"127.0.0.1.", 80, false},
		"localhost":              {"localhost", 80, false},
		"localhost_dot":          {"localhost.", 80, false},
		"localhost_upper":        {"LocalHost", 80, false},
		"sub_localhost":          {"a.localhost", 80, false},
		"nat64_loopback":         {"64:ff9b::7f00:1", 80, false},
		"nat64_public":           {"64:ff9b::5db8:d822", 443, true},
		"nat64_local":            {"64:ff9b:1::1", 443, false},
		"zone":                   {"fe80::1%eth0", 80, false},
		"zone_on_public":         {"2606:2800:220:1::1%eth0", 443, false},
		"private_10":             {"10.0.0.1", 443, false},
		"private_172":            {"172.31.255.255", 443, false},
		"private_192":            {"192.168.0.1", 443, false},
		"cgnat":                  {"100.64.0.1", 443, false},
		"ula":                    {"fc00::1", 443, false},
		"site_local":             {"fec0::1", 443, false},
		"multicast":              {"224.0.0.1", 443, false},
		"broadcast":              {"255.255.255.255", 443, false},
		"unspecified":            {"0.0.0.0", 443, false},
		"unspecified_ipv6":       {"::", 443, false},
		"documentation":          {"203.0.113.1", 443, false},
		"documentation_ipv6":     {"2001:db8::1", 443, false},
		"benchmark":              {"198.19.0.1", 443, false},
		"six_to_four":            {"2002:7f00:1::", 443, false},
		"teredo":                 {"2001:0:7f00:1::", 443, false},
		"allowed_network":        {"10.1.2.3", 8080, true},
		"allowed_mapped":         {"::ffff:10.1.2.3", 8080, true},
		"outside_network":        {"10.2.0.1", 443, false},
		"allowed_network_port":   {"192.168.7.9", 8443, true},
		"other_port_of_network":  {"192.168.7.9", 443, false},
		"allowed_exact":          {"127.0.0.1", 9110, true},
		"other_port_of_exact":    {"127.0.0.1", 9111, false},
		"allowed_localhost":      {"localhost", 9110, true},
		"localhost_entry":        {"::1", 9200, true},
		"allowed_name":           {"CRM.corp.example.", 8443, true},
		"allowed_ipv6_network":   {"fd00:1::7", 443, true},
		"empty":                  {"", 443, true}, // the URL's own rule
	}
	g := newGuard(t, egress.Options{Allow: allow})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := g.CheckHost(c.host, c.port)
			if got := err == nil; got != c.ok {
				t.Errorf("%s port %d: got %v, want allowed %v", c.host, c.port, err, c.ok)
			}
			if err != nil && !errors.Is(err, egress.ErrBlocked) {
				t.Errorf("got %v, want ErrBlocked", err)
			}
		})
	}
}

func TestGuard_own_listeners_stay_out_of_reach(t *testing.T) {
	opts := egress.Options{Allow: []string{"127.0.0.0/8", "127.0.0.1:9110"}, Own: []string{"127.0.0.1:9103", "127.0.0.1:9110", ":9190"}}
	g := newGuard(t, opts)
	for port, want := range map[uint16]bool{9103: false, 9190: false, 9110: true, 5555: true} {
		if got := g.CheckHost("127.0.0.1", port) == nil; got != want {
			t.Errorf("port %d: got allowed %v, want %v", port, got, want)
		}
	}
}

func TestNew_refuses(t *testing.T) {
	for _, target := range []string{"crm", "10.0.0.0/8:x", "10.0.0.0/33", "host:70000", "2130706433:80", "a/b:80"} {
		if _, err := egress.New(egress.Options{Allow: []string{target}}); err == nil || !strings.Contains(err.Error(), target) {
			t.Errorf("%s: got %v, want an error that names it", target, err)
		}
	}
}

func TestGuard_DialContext(t *testing.T) {
	target := listen(t)
	_, port, err := net.SplitHostPort(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a_name_for_a_private_address_is_blocked", func(t *testing.T) {
		g := newGuard(t, egress.Options{Resolver: resolver(t, [4]byte{127, 0, 0, 1})})
		blocked(t, g, "public.example:"+port)
	})
	t.Run("a_name_for_an_allowed_address_connects", func(t *testing.T) {
		g := newGuard(t, egress.Options{Allow: []string{target}, Resolver: resolver(t, [4]byte{127, 0, 0, 1})})
		connects(t, g, "inside.example:"+port)
		g = newGuard(t, egress.Options{Allow: []string{target}})
		connects(t, g, "localhost:"+port)
	})
	t.Run("a_trusted_name_connects_wherever_it_points", func(t *testing.T) {
		g := newGuard(t, egress.Options{Allow: []string{"inside.example:" + port}, Resolver: resolver(t, [4]byte{127, 0, 0, 1})})
		connects(t, g, "Inside.example.:"+port)
		blocked(t, g, "other.example:"+port)
	})
	t.Run("a_name_that_changes_is_looked_at_each_time", func(t *testing.T) {
		g := newGuard(t, egress.Options{Allow: []string{target}, Resolver: resolver(t, [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 2})})
		connects(t, g, "changing.example:"+port)
		blocked(t, g, "changing.example:"+port)
	})
}

func connects(t *testing.T, g *egress.Guard, address string) {
	t.Helper()
	conn, err := g.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("%s: got %v, want a connection", address, err)
	}
	_ = conn.Close()
}

func blocked(t *testing.T, g *egress.Guard, address string) {
	t.Helper()
	conn, err := g.DialContext(t.Context(), "tcp", address)
	if conn != nil {
		_ = conn.Close()
	}
	if !errors.Is(err, egress.ErrBlocked) {
		t.Fatalf("%s: got %v, want ErrBlocked", address, err)
	}
}

func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// resolver asks a real DNS server that gives each of answers in turn for IPv4, then the last one for good, and nothing for IPv6.
func resolver(t *testing.T, answers ...[4]byte) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}) // closed when the server's goroutine ends
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		for buf := make([]byte, 512); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
				m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: answers[0]}}}
				if len(answers) > 1 {
					answers = answers[1:]
				}
			}
			if reply, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", conn.LocalAddr().String())
	}}
}
