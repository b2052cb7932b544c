// Package connlimit caps the connections of an HTTP server, in all and from one address. When all places are taken, the connection that
// has waited longest for its next request makes room: whoever opens connections to hold them keeps nobody out.
package connlimit

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Listener accepts connections up to its caps. Its server must report states to ConnState.
type Listener struct {
	net.Listener
	total, perAddr int

	mu    sync.Mutex
	conns map[*conn]struct{}
	addrs map[netip.Addr]int
	// waiting holds the connections without a request under way, the one that waits longest first.
	waiting *list.List
}

// New returns a Listener with total places, of which one address gets perAddr.
func New(l net.Listener, total, perAddr int) *Listener {
	return &Listener{
		Listener: l, total: total, perAddr: perAddr,
		conns: make(map[*conn]struct{}), addrs: make(map[netip.Addr]int), waiting: list.New(),
	}
}

// conn is a connection that has a place until it is closed.
type conn struct {
	net.Conn
	owner *Listener
	addr  netip.Addr
	place *list.Element // in waiting; nil while a request is under way
	gone  bool
}

// Accept returns the next connection that gets a place. The others are closed at once.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: accepted, owner: l, addr: addrOf(accepted)}
		if l.admit(c) {
			return c, nil
		}
		_ = accepted.Close() // nobody waits for how that went
	}
}

func addrOf(c net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{} // not from a network; all of those share a cap
	}
	return at.Addr().Unmap()
}

func (l *Listener) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addrs[c.addr] >= l.perAddr && !l.evict(func(other *conn) bool { return other.addr == c.addr }) {
		return false
	}
	if len(l.conns) >= l.total && !l.evict(func(*conn) bool { return true }) {
		return false
	}
	l.conns[c] = struct{}{}
	l.addrs[c.addr]++
	c.place = l.waiting.PushBack(c)
	return true
}

// evict closes the connection that waits longest among those that fit, and says whether there was one.
func (l *Listener) evict(fits func(*conn) bool) bool {
	for e := l.waiting.Front(); e != nil; e = e.Next() {
		if c, ok := e.Value.(*conn); ok && fits(c) {
			l.forget(c)
			_ = c.Conn.Close() // its server notices
			return true
		}
	}
	return false
}

func (l *Listener) forget(c *conn) {
	if c.gone {
		return
	}
	c.gone = true
	delete(l.conns, c)
	if l.addrs[c.addr]--; l.addrs[c.addr] <= 0 {
		delete(l.addrs, c.addr)
	}
	l.stopWaiting(c)
}

func (l *Listener) stopWaiting(c *conn) {
	if c.place != nil {
		l.waiting.Remove(c.place)
		c.place = nil
	}
}

// ConnState is for http.Server.ConnState.
func (l *Listener) ConnState(nc net.Conn, state http.ConnState) {
	for {
		wrapped, ok := nc.(interface{ NetConn() net.Conn }) // as TLS does
		if !ok {
			break
		}
		nc = wrapped.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok || c.owner != l {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.gone:
	case state == http.StateIdle:
		l.stopWaiting(c)
		c.place = l.waiting.PushBack(c)
	case state == http.StateActive:
		l.stopWaiting(c)
	}
}

// Close frees the place.
func (c *conn) Close() error {
	c.owner.mu.Lock()
	c.owner.forget(c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}
