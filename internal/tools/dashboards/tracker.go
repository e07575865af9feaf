package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

func tracker() *board {
	b := newBoard("tracker", "Tracker", "Owners of partitions, progress of folding, timers, and the local state.",
		variable("job", "Job", "ackwire_tracker_shards"), variable("instance", "Instance",
			`ackwire_tracker_shards{job=~"$job"}`))
	s := byInstance

	b.row("Now")
	add(b, 4, figure("Partitions unowned", "Partitions of status that no tracker serves.", units.Short,
		warnAt{orange: 1, red: 1}, query{expr: withoutOwner(byJob)}))
	add(b, 4, figure("Active jobs", "Jobs that have not ended.", units.Short, warnAt{orange: 1e12, red: 1e12},
		query{expr: "sum(" + s.of("ackwire_tracker_jobs_active") + ")"}))
	add(b, 4, figure("Left to restore", "Records that owned partitions must still fold to be ready.", units.Short,
		warnAt{orange: 1, red: 1e6}, query{expr: "sum(" + s.of("ackwire_tracker_restore_remaining_records") + ")"}))
	add(b, 4, figure("Log to fold p99", "Time from a record's timestamp to its fold.", units.Seconds, warnAt{orange: 0.5, red: 5},
		query{expr: known(s.quantile(0.99, "ackwire_tracker_log_to_fold_seconds"))}))
	add(b, 4, figure("Oldest checkpoint",
		"Age of the oldest change that no checkpoint has yet. Later events have to be folded again after a crash.",
		units.Seconds, warnAt{orange: 60, red: 300}, query{
			expr: "max(" + s.of("ackwire_tracker_checkpoint_age_seconds") + ")",
		}))
	add(b, 4, figure("Disk free", "The lowest of all trackers. A tracker stops being ready before its disk is full.",
		units.PercentUnit, warnAt{orange: 0.2, red: 0.1, falls: true},
		query{expr: "min(" + s.of("ackwire_tracker_disk_free_bytes") + " / " + s.of("ackwire_tracker_disk_size_bytes") +
			")"}).Decimals(0))

	b.row("Partitions")
	add(b, 8, stacked("Partitions served by instance", "Owned partitions that have caught up with the log.", units.Short,
		query{"sum by (instance) (" + s.of("ackwire_tracker_shards_ready") + ")", "{{instance}}"}))
	add(b, 8, graph("Left to restore by instance", "Records that an instance must still fold to be ready.", units.Short,
		query{"sum by (instance) (" + s.of("ackwire_tracker_restore_remaining_records") + ")", "{{instance}}"}))
	add(b, 8, graph("Restores since the start",
		"Sources that were tried when partitions were taken over, by outcome. unsound: a local store that failed its "+
			"check was set aside.", units.Short,
		query{"sum by (from, outcome) (" + s.of("ackwire_tracker_restores_total") + ") > 0", "{{from}} {{outcome}}"}))

	b.row("Fold")
	add(b, 8, stacked("Events by type", "Events read from status.", units.OpsPerSecond,
		query{s.sum("ackwire_tracker_events_total", "type"), "{{type}}"}))
	add(b, 8, graph("Events that changed nothing by reason",
		"Late events of former runs, duplicates, timers that came too late: a few are normal.", units.OpsPerSecond,
		query{s.sum("ackwire_tracker_events_refused_total", "reason") + " > 0", "{{reason}}"}))
	add(b, 8, graph("Log to fold", "Time from a record's timestamp to its fold.", units.Seconds,
		query{s.quantile(0.5, "ackwire_tracker_log_to_fold_seconds"), "p50"},
		query{s.quantile(0.99, "ackwire_tracker_log_to_fold_seconds"), "p99"}))

	b.row("Timers and orders")
	add(b, 8, graph("Events of timers by type", "Leases that ran out, next attempts that are due, deadlines, retention.",
		units.OpsPerSecond,
		query{s.sum("ackwire_tracker_timer_events_total", "type"), "{{type}}"}))
	add(b, 8, graph("Orders to workers by type",
		"Stop: the run no longer holds its job. Granted: it may begin. Quit: the job was cancelled.",
		units.OpsPerSecond,
		query{s.sum("ackwire_tracker_orders_total", "type"), "{{type}}"}))
	add(b, 8, graph("Next attempts and webhooks",
		"Requests produced by the tracker itself, by outcome; those that failed are tried again.", units.OpsPerSecond,
		query{s.sum("ackwire_tracker_hand_outs_total", "outcome"), "next attempts {{outcome}}"},
		query{s.sum("ackwire_tracker_webhooks_queued_total", "outcome"), "webhooks {{outcome}}"}))

	b.row("State")
	add(b, 8, graph("Checkpoints", "Time to write a checkpoint, and age of the oldest change that none has.",
		units.Seconds,
		query{s.quantile(0.99, "ackwire_tracker_checkpoint_seconds"), "p99"},
		query{"max(" + s.of("ackwire_tracker_checkpoint_age_seconds") + ")", "oldest"}))
	add(b, 8, graph("Jobs written", "Documents written to the local store and to the topic view.", units.OpsPerSecond,
		query{s.sum("ackwire_tracker_checkpoint_jobs_total"), "store"},
		query{s.sum("ackwire_tracker_view_jobs_total"), "view"}))
	add(b, 8, graph("Free disk by instance", "Free space on the disk of the local store.", units.BytesIEC,
		query{"min by (instance) (" + s.of("ackwire_tracker_disk_free_bytes") + ")", "{{instance}}"}))
	add(b, 12, graph("View transactions by outcome",
		"Fenced: another tracker has the partition now. The embedded broker has no view.", units.OpsPerSecond,
		query{s.sum("ackwire_tracker_view_transactions_total", "outcome"), "{{outcome}}"}))
	add(b, 12, graph("View transaction latency", "Time that a transaction of the topic view took.", units.Seconds,
		query{s.quantile(0.5, "ackwire_tracker_view_transaction_seconds"), "p50"},
		query{s.quantile(0.99, "ackwire_tracker_view_transaction_seconds"), "p99"}))

	b.row("Streams of jobs")
	add(b, 8, stacked("Records by outcome",
		"Records of the topic streams. Those of runs that do not count are dropped (old_dispatch, other_run, unknown_run): a "+
			"few are normal when workers are lost.", units.OpsPerSecond,
		query{s.sum("ackwire_tracker_streams_records_total", "outcome"), "{{outcome}}"}))
	add(b, 8, graph("Behind the topic by instance", "Age of the oldest record that was not read yet.", units.Seconds,
		query{"max by (instance) (" + s.of("ackwire_tracker_streams_lag_seconds") + ")", "{{instance}}"}))
	add(b, 8, graph("Records that wait", "Records of the topic that were not read yet.", units.Short,
		query{"sum by (instance) (" + s.of("ackwire_tracker_streams_lag_records") + ")", "{{instance}}"}))
	add(b, 8, graph("Memory",
		"Tails: what was written last, by which readers are served. Waiting: records whose run's claim is not folded yet.",
		units.BytesIEC,
		query{"sum(" + s.of("ackwire_tracker_streams_tail_bytes") + ")", "tails"},
		query{"sum(" + s.of("ackwire_tracker_streams_tail_limit_bytes") + ")", "bound of the tails"},
		query{"sum(" + s.of("ackwire_tracker_streams_waiting_bytes") + ")", "waiting"}))
	add(b, 8, stacked("Bytes served by source",
		"Bytes of streams that gateways were sent. Kafka: what is older than the tail, read again.",
		units.BytesPerSecondIEC,
		query{s.sum("ackwire_tracker_streams_served_bytes_total", "from"), "{{from}}"}))
	add(b, 8, graph("Followed streams by instance", "Streams that gateways follow.", units.Short,
		query{"sum by (instance) (" + s.of("ackwire_tracker_streams_follows") + ")", "{{instance}}"}))

	b.row("Workers, histories and lists")
	add(b, 8, graph("Workers by instance",
		"Workers that announced themselves within two minutes, of the partitions that a tracker owns.", units.Short,
		query{"sum by (instance) (" + s.of("ackwire_tracker_workers") + ")", "{{instance}}"}))
	add(b, 8, stacked("Announcements by outcome",
		"Announcements of workers. Crowded: there are more workers than are kept; workers are missing from the list then.",
		units.OpsPerSecond,
		query{s.sum("ackwire_tracker_worker_announcements_total", "outcome"), "{{outcome}}"}))
	add(b, 8, graph("Read for histories by instance",
		"Bytes of the topic status that are read from Kafka to tell histories of jobs.", units.BytesPerSecondIEC,
		query{s.sum("ackwire_tracker_history_read_bytes_total", "instance"), "{{instance}}"}))
	add(b, 24, graph("Changes of watched lists",
		"Conflated: a newer change of the same job took its place before the gateway had read it. Overflows: there was no "+
			"room, so that the gateway lists anew.", units.OpsPerSecond,
		query{s.sum("ackwire_tracker_list_changes_conflated_total"), "conflated"},
		query{s.sum("ackwire_tracker_list_overflows_total"), "overflows"}))

	b.row("Watches and trouble")
	add(b, 8, graph("Watches by instance", "Jobs watched by gateways, one per gateway and job.", units.Short,
		query{"sum by (instance) (" + s.of("ackwire_tracker_watches") + ")", "{{instance}}"}))
	add(b, 8, graph("Requests turned away by bound",
		"Requests refused because of a bound of a partition; the gateway asks again.",
		units.OpsPerSecond,
		query{s.sum("ackwire_tracker_overloaded_total", "bound"), "{{bound}}"}))
	add(b, 8, graph("Trouble",
		"Events of the last ten minutes that should not happen: records that could not be read, events or payloads that "+
			"were removed too early, a full disk.", units.Short,
		query{"sum(increase(" + s.of("ackwire_tracker_dead_letters_total") + "[10m]))", "dead letters"},
		query{"sum(increase(" + s.of("ackwire_tracker_log_gaps_total") + "[10m]))", "log gaps"},
		query{"sum(increase(" + s.of("ackwire_tracker_payloads_gone_total") + "[10m]))", "payloads gone"},
		query{"sum(increase(" + s.of("ackwire_tracker_streams_lost_total") + "[10m]))", "streams with gaps"},
		query{"sum(increase(" + s.of("ackwire_tracker_disk_full_total") + "[10m]))", "disk full"}))
	return b
}
