package scheduler

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// BenchmarkService drains events from a full stream: one of 1,000 workflows matches each, 200 of them share its type. The figure is the CPU
// of the whole test process, so it includes the NATS server, the peers and the publishing.
func BenchmarkService(b *testing.B) {
	bench := newBench(b)
	for i := range 1000 {
		d := filtered(fmt.Sprintf("w%d", i), fmt.Sprintf(`event.data.campaign_id == "c%d"`, i))
		if i >= 200 {
			d.GetTrigger().GetEvent().EventType = "call.started"
		}
		bench.catalog.put(d)
	}
	bench.start()
	bench.drained()
	body := []byte(`{"call_id":"c-81273","pbx_id":"pbx-1","direction":"inbound","media":"voice","from_e164":"+4930123456","to_e164":"+4930654321",` +
		`"queue":"sales","agent_user_id":"u-17","lead_id":"lead-1007","started_at":"2026-11-23T09:55:00Z","ended_at":"2026-11-23T10:00:00Z",` +
		`"ring_ms":8000,"talk_ms":292000,"hold_ms":0,"result":"answered","end_reason":"hangup","ended_by":"customer","campaign_id":"c42"}`)
	before, begin := cpu(b), time.Now()
	n := 0
	for b.Loop() {
		_, err := bench.js.PublishMsgAsync(&nats.Msg{
			Subject: "uniconnect.events.acme.call.ended", Data: body,
			Header: nats.Header{"ce-id": {fmt.Sprintf("e%d", n)}, "ce-source": {"/pbx"}, "ce-type": {"call.ended"}, "ce-specversion": {"1.0"}},
		})
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	bench.executor.await(b, "all runs", count(n))
	b.ReportMetric(float64(n)/time.Since(begin).Seconds(), "events/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(n), "cpu-µs/event")
	b.ReportMetric(float64(n)/float64(bench.executor.calls), "starts/call")
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
