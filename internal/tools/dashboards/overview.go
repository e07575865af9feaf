package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

// processes is a metric that every process of Ackwire has.
const processes = "ackwire_build_info"

// ourFault returns the rate of submits that failed by a fault of Ackwire, over sockets and over HTTP.
func ourFault(s selector) string {
	return orZero(s.and(`type="submit", code=~"unavailable|overloaded|internal|indeterminate"`).sum(
		"ackwire_gateway_frames_received_total")) +
		" + " + orZero(s.and(`route="submit", status=~"5.."`).sum("ackwire_gateway_http_requests_total"))
}

// withoutOwner returns the number of partitions of status that no tracker serves.
func withoutOwner(s selector) string {
	return "max(" + s.of("ackwire_tracker_partitions") + ") - sum(" + s.of("ackwire_tracker_shards_ready") + ")"
}

// deadLetters returns how many records any service has moved to the dead letters in the shown time.
func deadLetters(s selector) string {
	met := func(metric string) string { return orZero("sum(increase(" + s.of(metric) + "[$__range]))") }
	return met("ackwire_tracker_dead_letters_total") + " + " + met("ackwire_processor_dead_letters_total")
}

// ended returns the rate at which jobs ended, by labels.
func ended(s selector, by ...string) string {
	return s.and(`stage="total"`).observed("ackwire_tracker_job_seconds", by...)
}

func overview() *board {
	b := newBoard("overview", "Overview", "Whether Ackwire is healthy, and which lanes, processes and clients are affected when it is not.",
		variable("job", "Job", processes), variable("lane", "Lane", "ackwire_tracker_lane_workers"))
	acked := byJob.and(`outcome="acked"`).sum("ackwire_gateway_submits_total")

	b.row("Is it healthy?")
	add(b, 3, figure("Alerts firing", "Alerts of deploy/prometheus/rules that fire now. Each links to its runbook.",
		units.Short, warnAt{orange: 1, red: 1},
		query{expr: `count(ALERTS{alertname=~"Ackwire.+", alertstate="firing"}) or vector(0)`}))
	add(b, 3, figure("Not ready", "Processes that do not answer, and services whose /readyz says that they are not ready.",
		units.Short, warnAt{orange: 1, red: 2},
		query{expr: orZero("count("+byJob.of("ackwire_ready")+" == 0)") + " + " + orZero("count("+byJob.of("up")+" == 0)")}))
	add(b, 3, figure("Submits served",
		"Share of acked submits among those that were acked or failed by a fault of Ackwire. Mistakes of clients do not "+
			"count.", units.PercentUnit,
		warnAt{orange: 0.999, red: 0.99, falls: true}, query{expr: share(acked, acked+" + "+ourFault(byJob))}).Decimals(2))
	add(b, 3, figure("Ack p99", "99 of 100 acks came within this time.", units.Seconds, warnAt{orange: 0.25, red: 1},
		query{expr: known(byJob.quantile(0.99, "ackwire_gateway_ack_seconds"))}))
	add(b, 3, figure("Oldest waiting job", "Age of the oldest job that waits for a worker, over all lanes.", units.Seconds,
		warnAt{orange: 60, red: 300},
		query{expr: "max(" + byLane.of("ackwire_tracker_lane_lag_seconds") + ")"}))
	add(b, 3, figure("Jobs failed", "Share of failed jobs among those that ended.", units.PercentUnit,
		warnAt{orange: 0.05, red: 0.2},
		query{expr: share(byJob.and(`state="failed"`).sum("ackwire_tracker_jobs_ended_total"),
			byJob.sum("ackwire_tracker_jobs_ended_total"))}).Decimals(1))
	add(b, 3, figure("Partitions unowned",
		"Partitions of status that no tracker serves: their jobs make no progress and cannot be queried.", units.Short,
		warnAt{orange: 1, red: 1},
		query{expr: withoutOwner(byJob)}))
	add(b, 3, figure("Dead letters", "Records that could not be read and were set aside, in the shown time.", units.Short,
		warnAt{orange: 1, red: 10},
		query{expr: deadLetters(byJob)}).Decimals(0))

	b.row("Submits")
	add(b, 8, stacked("Submits by outcome",
		"Rejected: refused with an error code, nothing was written. Indeterminate: not known to be written; the client "+
			"learns the outcome when it submits the same key again.", units.OpsPerSecond,
		query{byJob.sum("ackwire_gateway_submits_total", "outcome"), "{{outcome}}"}))
	add(b, 8, graph("Ack latency", "From a submit's frame to its ack.", units.Seconds,
		query{byJob.quantile(0.5, "ackwire_gateway_ack_seconds"), "p50"},
		query{byJob.quantile(0.95, "ackwire_gateway_ack_seconds"), "p95"},
		query{byJob.quantile(0.99, "ackwire_gateway_ack_seconds"), "p99"}))
	add(b, 8, graph("From log to socket", "From a status record's time to its frame on a socket.", units.Seconds,
		query{byJob.quantile(0.5, "ackwire_gateway_delivery_seconds"), "p50"},
		query{byJob.quantile(0.99, "ackwire_gateway_delivery_seconds"), "p99"}))

	b.row("Work")
	add(b, 8, stacked("Jobs ended by state", "Jobs that reached a terminal state.", units.OpsPerSecond,
		query{byJob.sum("ackwire_tracker_jobs_ended_total", "state"), "{{state}}"}))
	add(b, 8, graph("Oldest waiting job by lane", "Age of the oldest job that waits for a worker.", units.Seconds,
		query{"max by (lane) (" + byLane.of("ackwire_tracker_lane_lag_seconds") + ")", "{{lane}}"}))
	add(b, 8, stacked("Active jobs by state", "Jobs that have not ended.", units.Short,
		query{"sum by (state) (" + byLane.of("ackwire_tracker_jobs") + ")", "{{state}}"}))

	b.row("Who is affected?")
	add(b, 12, rows("Lanes", "Workers, backlog and latency of each lane.", "lane",
		column{
			query{"max by (lane) (" + byLane.of("ackwire_tracker_lane_workers") + ")", "Workers"}, units.Short,
			&warnAt{orange: 1, red: 1, falls: true},
		},
		column{query{"max by (lane) (" + byLane.of("ackwire_tracker_lane_lag_records") + ")", "Waiting"}, units.Short, nil},
		column{
			query{"max by (lane) (" + byLane.of("ackwire_tracker_lane_lag_seconds") + ")", "Oldest"}, units.Seconds,
			&warnAt{orange: 60, red: 300},
		},
		column{query{ended(byLane, "lane"), "Ended/s"}, units.Short, nil},
		column{query{byLane.sum("ackwire_tracker_job_failures_total", "lane"), "Failures/s"}, units.Short, nil},
		column{
			query{known(byLane.and(`stage="total"`).quantile(0.99, "ackwire_tracker_job_seconds", "lane")), "p99"},
			units.Seconds, nil,
		}))
	add(b, 12, rows("Processes", "Each process that is scraped.", "instance",
		column{
			query{"min by (instance) (" + byJob.of("ackwire_ready") + ")", "Ready"}, units.Short,
			&warnAt{orange: 1, red: 1, falls: true},
		},
		column{
			query{"time() - max by (instance) (" + byJob.of("process_start_time_seconds") + ")", "Up for"},
			units.Seconds, nil,
		},
		column{query{byJob.sum("process_cpu_seconds_total", "instance"), "CPUs"}, units.Short, nil},
		column{
			query{"max by (instance) (" + byJob.of("process_resident_memory_bytes") + ")", "Memory"}, units.BytesIEC,
			nil,
		}))
	add(b, 12, graph("Errors sent to clients by code",
		"On sockets and over HTTP; schemas/code/codes.md says what each code means.", units.OpsPerSecond,
		query{byJob.sum("ackwire_gateway_errors_total", "code") + " > 0", "{{code}}"}))
	add(b, 12, graph("Turned away by bound",
		"Sessions, submits, watches and frames refused because of a limit of a tenant or of a gateway.", units.OpsPerSecond,
		query{byJob.sum("ackwire_gateway_turned_away_total", "bound") + " > 0", "{{bound}}"}))
	return b
}
