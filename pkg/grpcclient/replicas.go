package grpcclient

import (
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc/resolver"
)

const replicasScheme = "replicas"

// replicas resolves a list of addresses separated by commas, for installations that have no DNS name which means all replicas.
type replicas struct{}

// Scheme names the resolver in targets.
func (replicas) Scheme() string { return replicasScheme }

// Build hands the list to the connection; it never changes.
func (replicas) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	var state resolver.State
	for addr := range strings.SplitSeq(target.Endpoint(), ",") {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("replica %q is not host:port", addr)
		}
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{
			Addr: addr, ServerName: addr, // each proves its own name, not that of the list
		}}})
	}
	if err := cc.UpdateState(state); err != nil {
		return nil, err
	}
	return replicas{}, nil
}

// ResolveNow has nothing to look up.
func (replicas) ResolveNow(resolver.ResolveNowOptions) {}

// Close has nothing to close.
func (replicas) Close() {}
