package grpcapi

import (
	"context"
	"net/netip"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// The headers by which the gateway says from where and by what program it was called. Whoever calls without the gateway could say so too,
// which is why they serve for the record only.
const (
	forwardedHeader = "x-forwarded-for"
	agentHeader     = "grpcgateway-user-agent"
	ownAgentHeader  = "user-agent"
)

const maxAgent = 256

// originOf returns the address that a call came from, as far as it is known, and what the caller's program calls itself.
func originOf(ctx context.Context) (address, agent string) {
	return addressOf(ctx), agentOf(ctx)
}

// addressOf returns the last hop of those that were forwarded: only that one was added by who connected to us.
func addressOf(ctx context.Context) string {
	if values := metadata.ValueFromIncomingContext(ctx, forwardedHeader); len(values) > 0 {
		hops := strings.Split(values[len(values)-1], ",")
		if addr, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1])); err == nil {
			return addr.Unmap().WithZone("").String()
		}
	}
	if p, ok := peer.FromContext(ctx); ok {
		if addr, err := netip.ParseAddrPort(p.Addr.String()); err == nil {
			return addr.Addr().Unmap().WithZone("").String()
		}
	}
	return ""
}

func agentOf(ctx context.Context) string {
	for _, header := range []string{agentHeader, ownAgentHeader} {
		if values := metadata.ValueFromIncomingContext(ctx, header); len(values) > 0 && values[0] != "" {
			return printable(values[0], maxAgent)
		}
	}
	return ""
}

// printable returns text without what a database or a screen could stumble over, cut to a length in bytes.
func printable(text string, length int) string {
	text = strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > length {
		text = strings.ToValidUTF8(text[:length], "")
	}
	return text
}
