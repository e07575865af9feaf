package ackwire

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestOperatorsReads: workers, webhooks and the audit trail are asked for with the options, and read.
func TestOperatorsReads(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		s.other = func(w http.ResponseWriter, r *http.Request) {
			switch r.Method + " " + r.URL.String() {
			case "GET /v1/workers":
				fmt.Fprint(w, `{"workers":[{"worker":"a","announced":true,"lanes":[{"lane":"default","slots":8}],"running":1,`+
					`"seenAt":"2026-01-02T03:04:05Z","holds":[{"jobId":"j","since":"2026-01-02T03:04:05Z","percent":40}]}],`+
					`"lanes":[{"lane":"default","oldestWait":1.5}],"asOf":"2026-01-02T03:04:05Z","truncated":true}`)
			case "GET /v1/system":
				fmt.Fprint(w, `{"gateways":[{"name":"a","version":"1.2.3","self":true}],"trackers":[{"partitions":4,"restoring":0,`+
					`"answers":false},{"name":"t","version":"1.2.3","partitions":8,"restoring":1,"answers":true}],`+
					`"partitions":{"total":12,"unowned":0},"kafka":{"reachable":true},"asOf":"2026-01-02T03:04:05Z","truncated":false}`)
			case "GET /v1/webhooks", "GET /v1/webhooks?since=2026-01-02T03%3A04%3A05Z&tenant=acme":
				fmt.Fprint(w, `{"endpoints":[{"tenant":"acme","endpoint":"https://h.example","failed":2,"jobs":["a","b"]}]}`)
			case "GET /v1/audit", "GET /v1/audit?cursor=0-7&limit=3&since=2026-01-02T03%3A04%3A05Z":
				fmt.Fprint(w, `{"records":[{"id":"0-6","v":1,"deed":"cancel"}],"nextCursor":"0-6"}`)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		}
		c := overHTTP(t, "http://ackwire.test", s.transport())
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		fleet, err := c.Workers(t.Context())
		if err != nil || len(fleet.Workers) != 1 || *fleet.Workers[0].Holds[0].Percent != 40 || !fleet.Truncated ||
			*fleet.Lanes[0].OldestWait != 1.5 {
			t.Errorf("%+v, %v", fleet, err)
		}
		system, err := c.System(t.Context())
		if err != nil || len(system.Gateways) != 1 || !system.Gateways[0].Self || len(system.Trackers) != 2 ||
			system.Trackers[0].Process != nil || system.Trackers[1].Name != "t" || system.Trackers[1].Restoring != 1 ||
			*system.Partitions.Unowned != 0 || !system.Kafka.Reachable {
			t.Errorf("%+v, %v", system, err)
		}
		for _, o := range []WebhooksOptions{{}, {Tenant: "acme", Since: at}} {
			hooks, err := c.Webhooks(t.Context(), o)
			if err != nil || len(hooks.Endpoints) != 1 || len(hooks.Endpoints[0].Jobs) != 2 {
				t.Errorf("%+v, %v", hooks, err)
			}
		}
		for _, o := range []AuditOptions{{}, {Since: at, Limit: 3, Cursor: "0-7"}} {
			page, err := c.Audit(t.Context(), o)
			if err != nil || len(page.Records) != 1 || page.Records[0].Deed != "cancel" || page.NextCursor != "0-6" {
				t.Errorf("%+v, %v", page, err)
			}
		}
	})
}
