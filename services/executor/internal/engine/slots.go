package engine

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"workflow.uniconnect/services/executor/internal/execution"
)

// slots are the executions that may run at once. They are shared fairly: while anybody else waits, no tenant holds more than half, and
// what waits in memory and what waits in the table get half of the free ones each.
type slots struct {
	total    int
	released atomic.Int64 // how many slots came back, ever

	mu   sync.Mutex
	free int
	used map[string]int
	// waiting are the tenants with starts in memory, backlog those with rows in the table, as the last claim found them.
	waiting map[string]int
	backlog map[string]struct{}
	hungry  bool // rows are left in the table
	// onFree is called whenever slots come back, onBacklog as well when rows are left in the table and enough slots are free.
	onFree, onBacklog func()
}

func newSlots(total int) *slots {
	return &slots{
		total: total, free: total,
		used: make(map[string]int), waiting: make(map[string]int), backlog: make(map[string]struct{}),
		onFree: func() {}, onBacklog: func() {},
	}
}

func (s *slots) tenantLimit() int { return max(s.total/2, 1) }

// reserve takes a slot for a start in memory, of a budget that forMemory gave.
func (s *slots) reserve(tenant string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == 0 || s.used[tenant] >= s.tenantLimit() && s.othersWait(tenant) {
		return false
	}
	s.free--
	s.used[tenant]++
	return true
}

// forMemory is how many of the free slots starts in memory may take now.
func (s *slots) forMemory() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hungry {
		return (s.free + 1) / 2
	}
	return s.free
}

// othersWait must be called with the lock held.
func (s *slots) othersWait(tenant string) bool {
	_, inMemory := s.waiting[tenant]
	_, inTable := s.backlog[tenant]
	return len(s.waiting) > 1 || len(s.waiting) == 1 && !inMemory ||
		len(s.backlog) > 1 || len(s.backlog) == 1 && !inTable
}

// enqueue and dequeue keep count of the starts in memory.
func (s *slots) enqueue(tenant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[tenant]++
}

func (s *slots) dequeue(tenant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[tenant]--; s.waiting[tenant] <= 0 {
		delete(s.waiting, tenant)
	}
}

// grant is a reservation of slots for rows whose tenants are not known yet.
type grant struct {
	count   int
	used    map[string]int
	waiting []string
}

func (g grant) request(tenantLimit int) execution.ClaimRequest {
	return execution.ClaimRequest{Limit: g.count, TenantLimit: tenantLimit, Used: g.used, Waiting: g.waiting}
}

// grantClaim reserves slots for a claim, up to limit.
func (s *slots) grantClaim(limit int) grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(s.free, limit)
	if len(s.waiting) > 0 {
		n = min((s.free+1)/2, limit)
	}
	s.free -= n
	return grant{count: n, used: maps.Clone(s.used), waiting: slices.Collect(maps.Keys(s.waiting))}
}

// settleClaim turns a reservation into the slots of the tenants that got them, and gives the rest back.
func (s *slots) settleClaim(g grant, tenants []string) {
	s.mu.Lock()
	s.free += g.count - len(tenants)
	if len(tenants) > 0 {
		s.hungry = true
		clear(s.backlog)
	}
	for _, tenant := range tenants {
		s.used[tenant]++
		s.backlog[tenant] = struct{}{}
	}
	s.mu.Unlock()
	if g.count > len(tenants) {
		s.onFree()
	}
}

// foundBacklog says that rows are left in the table that could be claimed now.
func (s *slots) foundBacklog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hungry = true
}

// foundNoBacklog says that none are left.
func (s *slots) foundNoBacklog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hungry = false
	clear(s.backlog)
}

// release gives a slot back.
func (s *slots) release(tenant string) {
	s.released.Add(1)
	s.mu.Lock()
	s.free++
	if s.used[tenant]--; s.used[tenant] <= 0 {
		delete(s.used, tenant)
	}
	claim := s.hungry && s.free >= max(s.total/8, 1)
	s.mu.Unlock()
	s.onFree()
	if claim {
		s.onBacklog()
	}
}

func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total - s.free
}
