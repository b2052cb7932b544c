// Package catalogbench measures the management of workflows at size: list, get and create over REST while one tenant has 100,000
// workflows, and how fast a trigger-scheduler has an index of 10,000 active ones.
//
// Requests are sent at the times that the rate gives, whether or not earlier ones are answered, and are timed from those times: an answer
// that comes late makes the next ones late, as their callers would see it.
package catalogbench
