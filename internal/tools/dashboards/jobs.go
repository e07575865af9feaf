package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

func jobs() *board {
	b := newBoard("jobs", "Jobs", "How jobs wait, run and end, by lane.",
		variable("job", "Job", processes), variable("lane", "Lane", "ackwire_tracker_lane_workers"))

	b.row("Flow")
	add(b, 8, graph("Jobs ended by lane", "Jobs that reached a terminal state.", units.OpsPerSecond,
		query{ended(byLane, "lane"), "{{lane}}"}))
	add(b, 8, stacked("Attempts by outcome",
		"Attempts that ended. Released: a worker that stopped gave the job back, which does not count as an attempt. Lost: "+
			"its lease ran out.", units.OpsPerSecond,
		query{byLane.sum("ackwire_tracker_attempts_total", "outcome"), "{{outcome}}"}))
	add(b, 8, stacked("Active jobs by state", "Jobs that have not ended.", units.Short,
		query{"sum by (state) (" + byLane.of("ackwire_tracker_jobs") + ")", "{{state}}"}))

	b.row("Waiting")
	add(b, 8, graph("Oldest waiting job by lane", "Age of the oldest job that waits for a worker.",
		units.Seconds,
		query{"max by (lane) (" + byLane.of("ackwire_tracker_lane_lag_seconds") + ")", "{{lane}}"}))
	add(b, 8, graph("Waiting requests by lane", "Requests that no worker has taken yet.", units.Short,
		query{"max by (lane) (" + byLane.of("ackwire_tracker_lane_lag_records") + ")", "{{lane}}"}))
	add(b, 8, graph("Workers and free slots by lane",
		"Members of the lane's consumer group, and the slots that no job holds.", units.Short,
		query{"max by (lane) (" + byLane.of("ackwire_tracker_lane_workers") + ")", "workers {{lane}}"},
		query{"sum by (lane) (" + byLane.of("ackwire_processor_slots_free") + ")", "free slots {{lane}}"}))

	b.row("Latency by stage")
	for _, stage := range []struct{ name, title, description string }{
		{"wait", "Waiting", "Time from accepted, or due, to the first claim: how long jobs wait for a worker."},
		{"run", "Running", "Time from the last claim to the end."},
		{"total", "Total", "Time from accepted, or due, to the end, as the client sees it."},
	} {
		s := byLane.and(`stage="` + stage.name + `"`)
		add(b, 8, graph(stage.title, stage.description, units.Seconds,
			query{s.quantile(0.5, "ackwire_tracker_job_seconds", "lane"), "p50 {{lane}}"},
			query{s.quantile(0.99, "ackwire_tracker_job_seconds", "lane"), "p99 {{lane}}"}))
	}
	stage := func(name string, q float64) string {
		return known(byLane.and(`stage="`+name+`"`).quantile(q, "ackwire_tracker_job_seconds", "type"))
	}
	add(b, 24, rows("Job types", "The busiest types have a row each; all others share one.", "type",
		column{query{ended(byLane, "type"), "Ended/s"}, units.Short, nil},
		column{query{stage("wait", 0.5), "Wait p50"}, units.Seconds, nil},
		column{query{stage("wait", 0.99), "Wait p99"}, units.Seconds, nil},
		column{query{stage("run", 0.5), "Run p50"}, units.Seconds, nil},
		column{query{stage("run", 0.99), "Run p99"}, units.Seconds, nil},
		column{query{stage("total", 0.99), "Total p99"}, units.Seconds, nil}))

	b.row("Retries and failures")
	add(b, 8, graph("Attempts that were not the last",
		"Retried after an error, lost with their worker, timed out, or released.", units.OpsPerSecond,
		query{
			byLane.and(`outcome=~"retried|lost|timeout|released"`).sum("ackwire_tracker_attempts_total", "lane", "outcome") +
				" > 0",
			"{{lane}} {{outcome}}",
		}))
	add(b, 8, graph("Failures by code",
		"Jobs that failed for good. The code handler stands for all codes of handlers' own; the others are Ackwire's.",
		units.OpsPerSecond,
		query{byLane.sum("ackwire_tracker_job_failures_total", "lane", "code") + " > 0", "{{lane}} {{code}}"}))
	add(b, 8, graph("Leases that ran out by lane",
		"Runs whose worker did not renew the lease in time: it died, hangs, or is cut off.", units.OpsPerSecond,
		query{byLane.sum("ackwire_tracker_leases_expired_total", "lane"), "{{lane}}"}))

	b.row("Workers")
	add(b, 8, graph("Handlers that run", "Runs in progress, and runs that wait for the tracker's grant.", units.Short,
		query{"sum(" + byJob.of("ackwire_processor_running") + ")", "running"},
		query{"sum(" + byJob.of("ackwire_processor_waiting") + ")", "waiting for a grant"}))
	add(b, 8, graph("Handler time by lane", "Time that one run of a handler took.", units.Seconds,
		query{byLane.quantile(0.5, "ackwire_processor_handler_seconds", "lane"), "p50 {{lane}}"},
		query{byLane.quantile(0.99, "ackwire_processor_handler_seconds", "lane"), "p99 {{lane}}"}))
	add(b, 8, stacked("Claims by outcome",
		"Refused: another worker had the job already. Quit: the job was cancelled before it began.", units.OpsPerSecond,
		query{byJob.sum("ackwire_processor_claims_total", "outcome"), "{{outcome}}"}))

	b.row("Webhooks")
	add(b, 8, stacked("Deliveries by outcome", "Attempts to deliver a webhook.", units.OpsPerSecond,
		query{byJob.sum("ackwire_processor_webhook_attempts_total", "outcome"), "{{outcome}}"}))
	add(b, 8, graph("Endpoints' answers", "Time until endpoints answered.", units.Seconds,
		query{byJob.quantile(0.5, "ackwire_processor_webhook_answer_seconds"), "p50"},
		query{byJob.quantile(0.99, "ackwire_processor_webhook_answer_seconds"), "p99"}))
	add(b, 8, graph("Endpoints paused",
		"Endpoints that get no webhooks for a while, because they failed many times in a row.",
		units.Short,
		query{"max(" + byJob.of("ackwire_processor_webhook_endpoints_paused") + ")", "paused"}))
	return b
}
