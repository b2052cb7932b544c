package stack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports come from below the range that the kernel gives to outgoing connections. So no connection takes the address of a process that
// was killed before it is started again.
const (
	lowestPort = 12000
	portRange  = 20000
)

// FreeAddrs returns n loopback addresses on which nobody listens.
func FreeAddrs(ctx context.Context, n int) ([]string, error) {
	listeners := make([]net.Listener, 0, n)
	defer func() {
		for _, l := range listeners {
			_ = l.Close() // it was only held so that no port is given twice
		}
	}()
	var lc net.ListenConfig
	var addrs []string
	for range 100 * n {
		addr := "127.0.0.1:" + strconv.Itoa(lowestPort+rand.IntN(portRange))
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			continue
		}
		listeners = append(listeners, l)
		if addrs = append(addrs, addr); len(addrs) == n {
			return addrs, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d", n, lowestPort, lowestPort+portRange)
}
