// Package egress decides where outbound calls may go. Administrators of a tenant write the addresses of their workflows, so an
// address may point anywhere: at the cloud's metadata service, at our own database, at a neighbour's router. The guard looks at the
// resolved address of every connection at the moment it is made, which no redirect and no changing name can get around, and lets
// only public addresses on the web's ports through, and what the operator has allowed.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrBlocked says that a destination is not allowed. Its text names no address: what a name resolves to inside our network is
// nobody's business.
var ErrBlocked = errors.New("the destination is not allowed")

// DialTimeout bounds each connection attempt.
const DialTimeout = 5 * time.Second

// Options say what is allowed beside the public web.
type Options struct {
	// Allow holds host:port, CIDR and CIDR:port. A host may be a name: it is then trusted wherever it points.
	Allow []string
	// Own holds the host:port of this installation's listeners. On the machine's own addresses they stay out of reach even when a CIDR
	// allows them; only the exact host:port in Allow opens one.
	Own []string
	// Resolver may be nil: the system's.
	Resolver *net.Resolver
}

// Guard opens connections to allowed destinations. It is safe for concurrent use.
type Guard struct {
	names    map[string]bool // host:port
	exact    map[netip.AddrPort]bool
	networks []network
	own      map[uint16]bool
	plan     addressPlan
	checked  net.Dialer
	trusted  net.Dialer
}

type network struct {
	prefix netip.Prefix
	port   uint16 // 0: any
}

// New returns a guard.
func New(opts Options) (*Guard, error) {
	g := &Guard{
		names: make(map[string]bool),
		exact: make(map[netip.AddrPort]bool),
		own:   make(map[uint16]bool),
		plan:  newAddressPlan(),
	}
	for _, target := range opts.Allow {
		if err := g.allow(target); err != nil {
			return nil, fmt.Errorf("allowed target %q: %w", target, err)
		}
	}
	for _, listener := range opts.Own {
		_, port, err := splitPort(listener)
		if err != nil {
			return nil, fmt.Errorf("own listener %q: %w", listener, err)
		}
		g.own[port] = true
	}
	g.trusted = net.Dialer{Timeout: DialTimeout, Resolver: opts.Resolver}
	g.checked = g.trusted
	g.checked.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !g.allows(to.Addr(), to.Port()) {
			return ErrBlocked
		}
		return nil
	}
	return g, nil
}

// DialContext connects to address, a host:port, unless that is not allowed.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if g.isTrusted(address) {
		return g.trusted.DialContext(ctx, network, address)
	}
	return g.checked.DialContext(ctx, network, address)
}

// CheckHost returns ErrBlocked when host, as it stands in a URL, cannot be allowed whatever names resolve to. It saves people from
// finding out when the workflow runs; DialContext is what protects.
func (g *Guard) CheckHost(host string, port uint16) error {
	host = canonical(host)
	if g.names[join(host, port)] {
		return nil
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		if g.allows(ipv4Loopback(), port) || g.allows(netip.IPv6Loopback(), port) {
			return nil
		}
		return ErrBlocked
	}
	addr, err := netip.ParseAddr(host)
	if err == nil && !g.allows(addr, port) || err != nil && looksNumeric(host) {
		return ErrBlocked
	}
	return nil
}

func (g *Guard) allows(addr netip.Addr, port uint16) bool {
	if !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	if g.exact[netip.AddrPortFrom(addr, port)] {
		return true
	}
	if g.own[port] && addr.IsLoopback() {
		return false
	}
	if g.inNetwork(addr, port) {
		return true
	}
	if inner, ok := g.plan.translated(addr); ok {
		return g.allows(inner, port)
	}
	return (port == 80 || port == 443) && g.plan.isPublic(addr)
}

func (g *Guard) inNetwork(addr netip.Addr, port uint16) bool {
	for _, n := range g.networks {
		if (n.port == 0 || n.port == port) && n.prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// isTrusted reports whether the operator has allowed this destination by name.
func (g *Guard) isTrusted(address string) bool {
	if len(g.names) == 0 {
		return false
	}
	host, port, err := splitPort(address)
	return err == nil && g.names[join(canonical(host), port)]
}

func (g *Guard) allow(target string) error {
	if prefix, err := netip.ParsePrefix(target); err == nil {
		g.addNetwork(prefix, 0)
		return nil
	}
	host, port, err := splitPort(target)
	if err != nil {
		return errors.New("is neither host:port nor a CIDR")
	}
	if prefix, err := netip.ParsePrefix(host); err == nil {
		g.addNetwork(prefix, port)
		return nil
	}
	host = canonical(host)
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && !addr.IsUnspecified():
		g.exact[netip.AddrPortFrom(addr.Unmap(), port)] = true
	case err == nil, host == "", host == "localhost":
		// A listener on every address, or on the machine itself, is reached on the loopback addresses.
		g.exact[netip.AddrPortFrom(ipv4Loopback(), port)] = true
		g.exact[netip.AddrPortFrom(netip.IPv6Loopback(), port)] = true
	case looksNumeric(host) || strings.ContainsAny(host, "/%"):
		return errors.New("is neither host:port nor a CIDR")
	default:
		g.names[join(host, port)] = true
	}
	return nil
}

func (g *Guard) addNetwork(prefix netip.Prefix, port uint16) {
	if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	g.networks = append(g.networks, network{prefix.Masked(), port})
}

// canonical returns host in the one form that is compared.
func canonical(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

func join(host string, port uint16) string {
	return host + ":" + strconv.FormatUint(uint64(port), 10)
}

func splitPort(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, errors.New("the port is not a number up to 65535")
	}
	return host, uint16(n), nil
}

// looksNumeric reports whether the host ends in a number, as browsers and some resolvers see it: 2130706433, 0x7f.1 and 127.1 are all
// ways to write 127.0.0.1. An address in the usual form is not asked about here.
func looksNumeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}
