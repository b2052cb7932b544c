// Package ratelimit bounds how often a tenant calls and how many streams it holds open, so that one tenant cannot take what others need.
//
// A tenant has a bucket of tokens for all its calls together and one for each class of methods; a call takes a token of both or none.
// Buckets hold twice what flows in each second. They are kept in this process alone: what several replicas admit adds up. A bucket that
// nobody has used for as long as it takes to fill is the same as none, so it is forgotten.
package ratelimit

import (
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"workflow.uniconnect/pkg/fault"
)

const (
	// burst is how many seconds' worth of tokens a bucket holds, and so also the time after which one is full.
	burst = 2
	// maxTenants bounds the buckets. Beyond it a tenant's buckets may be lost, which gives it a fresh burst and takes nothing away.
	maxTenants = 10_000
	// sweepEvery is how often what is not used is forgotten although there is room.
	sweepEvery = time.Minute
)

// Limits are what a tenant may do. Both are above 0.
type Limits struct {
	RequestsPerSecond int
	// Streams is how many may be open at a time.
	Streams int
}

// Limiter holds the buckets. It is safe for concurrent use.
type Limiter struct {
	size int

	mu      sync.Mutex
	buckets map[string]*buckets
	// streams counts the open streams of each tenant that has any.
	streams map[string]int
	swept   time.Time
}

// buckets are one tenant's.
type buckets struct {
	perSecond int
	total     *rate.Limiter
	classes   [classes]*rate.Limiter
	used      time.Time
}

// New returns a Limiter that knows nobody.
func New() *Limiter {
	return &Limiter{size: maxTenants, buckets: make(map[string]*buckets), streams: make(map[string]int), swept: time.Now()}
}

// Take counts one call of a tenant. The error is a fault that names the limit that was reached and when to come again.
func (l *Limiter) Take(tenant string, class Class, limits Limits) error {
	if class == Unlimited {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.of(tenant, limits.RequestsPerSecond, now)
	own := b.classes[class].ReserveN(now, 1)
	if wait := own.DelayFrom(now); wait > 0 {
		own.CancelAt(now)
		return tooMany(class.limit(), class.share(b.perSecond), wait)
	}
	all := b.total.ReserveN(now, 1)
	if wait := all.DelayFrom(now); wait > 0 {
		all.CancelAt(now)
		own.CancelAt(now)
		return tooMany("requests_per_second", float64(b.perSecond), wait)
	}
	return nil
}

// Open counts a stream of a tenant until release is called, once. The error is a fault that names the quota.
func (l *Limiter) Open(tenant string, limits Limits) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[tenant] >= limits.Streams {
		value := strconv.Itoa(limits.Streams)
		return nil, fault.ResourceExhausted(fault.ReasonQuota, "the tenant's quota streams is used up: "+value+" are open").
			With("quota", "streams").With("value", value).WithRetryAfter(time.Second)
	}
	l.streams[tenant]++
	return func() { l.close(tenant) }, nil
}

func (l *Limiter) close(tenant string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[tenant]--; l.streams[tenant] <= 0 {
		delete(l.streams, tenant)
	}
}

// of returns the buckets of a tenant, with its present limit.
func (l *Limiter) of(tenant string, perSecond int, now time.Time) *buckets {
	b, ok := l.buckets[tenant]
	if !ok {
		l.makeRoom(now)
		b = newBuckets(perSecond)
		l.buckets[tenant] = b
	}
	b.set(perSecond, now)
	b.used = now
	return b
}

// makeRoom forgets full buckets, and any that are left when there is still no room.
func (l *Limiter) makeRoom(now time.Time) {
	if len(l.buckets) < l.size && now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = now
	for tenant, b := range l.buckets {
		if now.Sub(b.used) >= burst*time.Second {
			delete(l.buckets, tenant)
		}
	}
	for tenant := range l.buckets {
		if len(l.buckets) < l.size {
			return
		}
		delete(l.buckets, tenant)
	}
}

func newBuckets(perSecond int) *buckets {
	b := &buckets{perSecond: perSecond, total: newBucket(float64(perSecond))}
	for c := range b.classes {
		b.classes[c] = newBucket(Class(c).share(perSecond))
	}
	return b
}

func newBucket(perSecond float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), burstOf(perSecond))
}

func burstOf(perSecond float64) int { return max(1, int(burst*perSecond)) }

// set adopts a limit that was changed. What is in the buckets stays.
func (b *buckets) set(perSecond int, now time.Time) {
	if b.perSecond == perSecond {
		return
	}
	b.perSecond = perSecond
	change := func(l *rate.Limiter, perSecond float64) {
		l.SetLimitAt(now, rate.Limit(perSecond))
		l.SetBurstAt(now, burstOf(perSecond))
	}
	change(b.total, float64(perSecond))
	for c, l := range b.classes {
		change(l, Class(c).share(perSecond))
	}
}

func tooMany(limit string, perSecond float64, wait time.Duration) error {
	value := strconv.FormatFloat(perSecond, 'f', -1, 64)
	return fault.ResourceExhausted(fault.ReasonRateLimit, "too many calls: the tenant's limit "+limit+" is "+value).
		With("limit", limit).With("value", value).WithRetryAfter(wait)
}
