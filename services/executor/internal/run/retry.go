package run

import (
	"hash/fnv"
	"math"
	"time"
)

// policy is a RetryPolicy with every default filled in.
type policy struct {
	maxAttempts int
	initial     time.Duration
	multiplier  float64
	maxInterval time.Duration
	jitter      float64
}

func policyOf(own *RetryPolicy, inherited RetryPolicy) policy {
	p := inherited
	if own != nil {
		p = *own
	}
	out := policy{p.MaxAttempts, p.InitialInterval, p.Multiplier, p.MaxInterval, defaultJitter}
	if out.maxAttempts == 0 {
		out.maxAttempts = defaultMaxAttempts
	}
	if out.initial == 0 {
		out.initial = defaultInitialInterval
	}
	if out.multiplier == 0 {
		out.multiplier = defaultMultiplier
	}
	if out.maxInterval == 0 {
		out.maxInterval = defaultMaxInterval
	}
	if p.Jitter != nil {
		out.jitter = *p.Jitter
	}
	return out
}

// wait is how long to wait after a failed attempt: initial × multiplier^(attempt−1), at most maxInterval, and of that a share of up to
// jitter taken away. The share is a hash of the key and the attempt: random over runs, the same when computed again. What the target
// asked for is the least.
func (p policy) wait(key string, attempt int, retryAfter time.Duration) time.Duration {
	grown := float64(p.initial) * math.Pow(p.multiplier, float64(attempt-1))
	d := min(grown, float64(p.maxInterval))
	h := fnv.New64a()
	h.Write([]byte(key))
	h.Write([]byte{byte(attempt), byte(attempt >> 8)})
	random := float64(h.Sum64()>>11) / (1 << 53)
	d -= d * p.jitter * random
	return max(time.Duration(d), retryAfter)
}
