package egress

import (
	"net/netip"
	"strings"
)

// specialNetworks is what the IANA registries keep apart from the public internet, beyond what netip itself knows: this network,
// carrier-grade NAT, protocol assignments, documentation, 6to4 relays, benchmarks, a cloud's host services, reserved and broadcast;
// then Teredo and other assignments, documentation, and 6to4, which is an IPv4 address in disguise.
const specialNetworks = "0.0.0.0/8 100.64.0.0/10 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 " +
	"168.63.129.16/32 240.0.0.0/4 " +
	"2001::/23 2001:db8::/32 2002::/16 3fff::/20"

// Of IPv6 only this has been given out for the public internet.
const globalIPv6 = "2000::/3"

const nat64Prefix = "64:ff9b::/96"

// addressPlan tells public addresses from others.
type addressPlan struct {
	special       []netip.Prefix
	global, nat64 netip.Prefix
}

func newAddressPlan() addressPlan {
	p := addressPlan{global: netip.MustParsePrefix(globalIPv6), nat64: netip.MustParsePrefix(nat64Prefix)}
	for _, text := range strings.Fields(specialNetworks) {
		p.special = append(p.special, netip.MustParsePrefix(text))
	}
	return p
}

// isPublic reports whether addr is an ordinary address of the public internet.
func (p *addressPlan) isPublic(addr netip.Addr) bool {
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.Is6() && !p.global.Contains(addr) {
		return false
	}
	for _, network := range p.special {
		if network.Contains(addr) {
			return false
		}
	}
	return true
}

// translated returns the IPv4 address that a NAT64 translator would connect to.
func (p *addressPlan) translated(addr netip.Addr) (netip.Addr, bool) {
	if !p.nat64.Contains(addr) {
		return netip.Addr{}, false
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:])), true
}

func ipv4Loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }
