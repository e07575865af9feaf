package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

func gateway() *board {
	b := newBoard("gateway", "Gateway", "Sockets, frames and requests.",
		variable("job", "Job", "ackwire_gateway_sessions"), variable("instance", "Instance",
			`ackwire_gateway_sessions{job=~"$job"}`))
	s := byInstance
	never := warnAt{orange: 1e12, red: 1e12}

	b.row("Now")
	add(b, 4, figure("Open sockets", "WebSocket sessions.", units.Short, never,
		query{expr: "sum(" + s.of("ackwire_gateway_sessions") + ")"}))
	add(b, 4, figure("Event streams", "Open event streams (SSE).", units.Short, never,
		query{expr: "sum(" + s.of("ackwire_gateway_event_streams") + ")"}))
	add(b, 4, figure("Frames", "Frames from clients.", units.OpsPerSecond, never,
		query{expr: s.sum("ackwire_gateway_frames_received_total")}).Decimals(1))
	add(b, 4, figure("HTTP requests", "Requests that were answered.", units.RequestsPerSecond, never,
		query{expr: s.sum("ackwire_gateway_http_requests_total")}).Decimals(1))
	add(b, 4, figure("Submits acked", "Durable jobs per second.", units.OpsPerSecond, never,
		query{expr: s.and(`outcome="acked"`).sum("ackwire_gateway_submits_total")}).Decimals(1))
	add(b, 4, figure("Ack p99", "99 of 100 acks came within this time.", units.Seconds, warnAt{orange: 0.25, red: 1},
		query{expr: known(s.quantile(0.99, "ackwire_gateway_ack_seconds"))}))

	b.row("Sockets")
	add(b, 8, graph("Open sockets by instance", "WebSocket sessions.", units.Short,
		query{"sum by (instance) (" + s.of("ackwire_gateway_sessions") + ")", "{{instance}}"}))
	add(b, 8, graph("Handshakes by outcome", "WebSocket handshakes.", units.OpsPerSecond,
		query{s.sum("ackwire_gateway_handshakes_total", "outcome"), "{{outcome}}"}))
	add(b, 8, graph("Closes by code",
		"Sessions that ended, by close code. none: the client left without a close frame; 1012: the gateway drained; 4000: "+
			"the client read too slowly; 4001: it did not answer pings.", units.OpsPerSecond,
		query{s.sum("ackwire_gateway_session_closes_total", "code") + " > 0", "{{code}}"}))

	b.row("Submits")
	add(b, 8, stacked("Submits by outcome", "By socket and over HTTP.", units.OpsPerSecond,
		query{s.sum("ackwire_gateway_submits_total", "outcome"), "{{outcome}}"}))
	add(b, 8, graph("Ack latency", "From a submit's frame to its ack.", units.Seconds,
		query{s.quantile(0.5, "ackwire_gateway_ack_seconds"), "p50"},
		query{s.quantile(0.95, "ackwire_gateway_ack_seconds"), "p95"},
		query{s.quantile(0.99, "ackwire_gateway_ack_seconds"), "p99"}))
	add(b, 8, graph("Submits in flight by instance", "Submits whose outcome is not known yet.", units.Short,
		query{"sum by (instance) (" + s.of("ackwire_gateway_submits_in_flight") + ")", "{{instance}}"}))

	b.row("Frames and requests")
	add(b, 12, stacked("Frames by type", "Frames from clients.", units.OpsPerSecond,
		query{s.sum("ackwire_gateway_frames_received_total", "type"), "{{type}}"}))
	add(b, 12, graph("Frame latency p99 by type", "From a frame to its answer.", units.Seconds,
		query{s.quantile(0.99, "ackwire_gateway_frame_seconds", "type"), "{{type}}"}))
	add(b, 12, stacked("HTTP requests by route and status", "A socket's handshake is route ws.", units.RequestsPerSecond,
		query{s.sum("ackwire_gateway_http_requests_total", "route", "status"), "{{route}} {{status}}"}))
	add(b, 12, graph("HTTP latency p99 by route",
		"Long polls (Prefer: wait) and event streams last as long as they are asked to.", units.Seconds,
		query{s.quantile(0.99, "ackwire_gateway_http_request_seconds", "route"), "{{route}}"}))
	add(b, 12, graph("Errors by code", "Errors sent to clients, on sockets and over HTTP.", units.OpsPerSecond,
		query{s.sum("ackwire_gateway_errors_total", "code") + " > 0", "{{code}}"}))
	add(b, 12, graph("Turned away by bound", "Sessions, submits, watches and frames refused because of a limit.",
		units.OpsPerSecond,
		query{s.sum("ackwire_gateway_turned_away_total", "bound") + " > 0", "{{bound}}"}))

	b.row("Statuses")
	add(b, 8, graph("Statuses sent and conflated",
		"Conflated: a newer status of the same job replaced it before it was written, for the client reads more slowly than "+
			"its jobs change. Dropped: old, a newer one had been sent; closed, the session was ending; overflow, the session "+
			"ends with slow_consumer.", units.OpsPerSecond,
		query{s.sum("ackwire_gateway_statuses_sent_total"), "sent"},
		query{s.sum("ackwire_gateway_statuses_conflated_total"), "conflated"},
		query{s.sum("ackwire_gateway_frames_dropped_total", "reason"), "dropped: {{reason}}"}))
	add(b, 8, graph("From log to socket", "From a status record's time to its frame on a socket.", units.Seconds,
		query{s.quantile(0.5, "ackwire_gateway_delivery_seconds"), "p50"},
		query{s.quantile(0.99, "ackwire_gateway_delivery_seconds"), "p99"}))
	add(b, 8, graph("Watches", "Subscriptions of sessions, and the number of different jobs in them.", units.Short,
		query{"sum(" + s.of("ackwire_gateway_subscriptions") + ")", "subscriptions"},
		query{"sum(" + s.of("ackwire_gateway_watched_jobs") + ")", "jobs"}))
	add(b, 8, graph("Event streams", "Open event streams (SSE).", units.Short,
		query{"sum by (instance) (" + s.of("ackwire_gateway_event_streams") + ")", "{{instance}}"}))
	add(b, 8, graph("Event streams that ended by reason", "Finished: all its jobs ended. Left: the client disconnected.",
		units.OpsPerSecond,
		query{s.sum("ackwire_gateway_event_stream_ends_total", "reason"), "{{reason}}"}))
	add(b, 8, graph("Trackers connected",
		"Trackers to which a gateway has a watch stream. While it has fewer than there are trackers, statuses of some jobs "+
			"come late.", units.Short,
		query{"sum by (instance) (" + s.of("ackwire_gateway_tracker_streams") + ")", "{{instance}}"}))

	b.row("Streams of jobs")
	add(b, 6, graph("Readers and streams", "Clients' places in streams of jobs, and the streams that are followed for them.",
		units.Short,
		query{"sum(" + s.of("ackwire_gateway_stream_readers") + ")", "readers"},
		query{"sum(" + s.of("ackwire_gateway_followed_streams") + ")", "streams"}))
	add(b, 6, stacked("Parts by source",
		"Parts of streams that readers took. Tracker: the buffer did not have them, for the reader came late or is slow.",
		units.OpsPerSecond,
		query{s.sum("ackwire_gateway_stream_parts_total", "source"), "{{source}}"}))
	add(b, 6, graph("Questions to trackers by outcome",
		"Questions for what a buffer did not have. Refused: the client's position, or its job, is not there.",
		units.OpsPerSecond,
		query{s.sum("ackwire_gateway_stream_reads_total", "outcome"), "{{outcome}}"}))
	add(b, 6, graph("Buffers by instance", "Bytes of the buffers of streams, of at most 256 MiB.", units.BytesIEC,
		query{"sum by (instance) (" + s.of("ackwire_gateway_stream_buffer_bytes") + ")", "{{instance}}"}))

	b.row("Lists that are watched")
	add(b, 8, graph("Watched lists", "Watches of lists of jobs, and the number of different lists in them.", units.Short,
		query{"sum(" + s.of("ackwire_gateway_list_subscriptions") + ")", "watches"},
		query{"sum(" + s.of("ackwire_gateway_lists") + ")", "lists"}))
	add(b, 8, graph("Rows sent and conflated",
		"Conflated: a newer change of the same job took its place before every client had been sent it.", units.OpsPerSecond,
		query{s.sum("ackwire_gateway_list_rows_sent_total"), "sent"},
		query{s.sum("ackwire_gateway_list_changes_conflated_total"), "conflated"}))
	add(b, 8, graph("Lists asked for anew",
		"Clients that were told to ask for a list again: more had changed than is sent, or a partition has moved.",
		units.OpsPerSecond,
		query{s.sum("ackwire_gateway_list_overflows_total"), "again"}))

	b.row("Batches and bulk actions")
	add(b, 8, graph("Batches", "Batches of submits over HTTP and by sockets; their submits count as others do.",
		units.OpsPerSecond,
		query{s.and(`route="batch"`).observed("ackwire_gateway_http_request_seconds"), "HTTP"},
		query{s.and(`type="submitBatch"`).sum("ackwire_gateway_frames_received_total"), "sockets"}))
	add(b, 8, graph("Bulk actions that run", "A gateway runs two at a time; others wait in the lane ackwire-bulk.",
		units.Short,
		query{"sum by (instance) (" + s.of("ackwire_gateway_bulk_running") + ")", "{{instance}}"}))
	add(b, 8, stacked("Jobs of bulk actions by outcome",
		"Jobs that bulk actions came to: done, or skipped and why. Given again: orders that something did not answer, or that "+
			"were refused by overload; while there are many, a bulk action is slow.", units.OpsPerSecond,
		query{s.sum("ackwire_gateway_bulk_jobs_total", "outcome"), "{{outcome}}"},
		query{s.sum("ackwire_gateway_bulk_repeated_orders_total"), "given again"}))

	b.row("Operators")
	add(b, 8, graph("Requests for operators by route",
		"Histories, payloads, dead letters, workers, webhooks, the audit trail and bulk actions, by the command line, the "+
			"console and programs.", units.RequestsPerSecond,
		query{s.and(`route=~"history|payload|dead|dead_get|dead_requeue|workers|webhooks|audit|bulk"`).observed(
			"ackwire_gateway_http_request_seconds", "route"), "{{route}}"}))
	add(b, 8, graph("Console and logins",
		"Pages and files of the console, logins that begin (console_login), and tokens that the provider was asked for "+
			"(console_token). Turned away: logins beyond what the provider may be asked.", units.RequestsPerSecond,
		query{s.and(`route=~"console_.+"`).observed("ackwire_gateway_http_request_seconds", "route"), "{{route}}"},
		query{s.and(`bound="console_logins"`).sum("ackwire_gateway_turned_away_total"), "turned away"}))
	add(b, 8, graph("Audit records", "Records of the topic audit. Lost: not known to be written; the log has what they tell.",
		units.OpsPerSecond,
		query{s.sum("ackwire_gateway_audit_records_total"), "written"},
		query{s.sum("ackwire_gateway_audit_lost_total"), "lost"}))
	return b
}
