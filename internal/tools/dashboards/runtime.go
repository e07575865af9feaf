package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

func runtime() *board {
	b := newBoard("runtime", "Kafka & Go", "What every process does with Kafka, and what it costs.",
		variable("job", "Job", processes), variable("instance", "Instance", processes+`{job=~"$job"}`))
	s := byInstance

	b.row("Kafka")
	add(b, 8, graph("Records by direction", "Records that brokers took from a process, and gave to it.",
		units.OpsPerSecond,
		query{s.sum("ackwire_kafka_records_total", "job", "direction"), "{{job}} {{direction}}"}))
	add(b, 8, graph("Produce p50 and p99", "How long brokers took to take records with acks=all: most of an ack.",
		units.Seconds,
		query{s.and(`request="produce"`).quantile(0.5, "ackwire_kafka_request_seconds", "job"), "p50 {{job}}"},
		query{s.and(`request="produce"`).quantile(0.99, "ackwire_kafka_request_seconds", "job"), "p99 {{job}}"}))
	add(b, 8, graph("Requests by kind", "Requests that brokers answered.", units.RequestsPerSecond,
		query{s.observed("ackwire_kafka_request_seconds", "request"), "{{request}}"}))
	add(b, 8, graph("Bytes", "What all connections to brokers carry.", units.BytesPerSecondSI,
		query{s.sum("ackwire_kafka_written_bytes_total", "job"), "written {{job}}"},
		query{s.sum("ackwire_kafka_read_bytes_total", "job"), "read {{job}}"}))
	add(b, 8, graph("Trouble with brokers",
		"Connections that failed or ended, requests that got no answer, and seconds that brokers asked to pause.",
		units.OpsPerSecond,
		query{s.and(`outcome="failed"`).sum("ackwire_kafka_connects_total"), "connects failed"},
		query{s.sum("ackwire_kafka_disconnects_total"), "disconnects"},
		query{s.sum("ackwire_kafka_requests_failed_total"), "requests failed"},
		query{s.sum("ackwire_kafka_throttled_seconds_total"), "throttled s/s"}))
	add(b, 8, graph("Records that Kafka did not confirm",
		"Of workers, by event; they are said again while their lease holds. Warnings are the embedded broker's.",
		units.OpsPerSecond,
		query{s.sum("ackwire_processor_produce_failures_total", "event"), "{{event}}"},
		query{s.sum("ackwire_processor_commit_failures_total"), "offset commits"},
		query{orZero(s.sum("ackwire_broker_warnings_total")), "broker warnings"}))

	b.row("Process")
	add(b, 8, graph("CPU by instance", "CPUs in use.", units.Short,
		query{s.sum("process_cpu_seconds_total", "job", "instance"), "{{job}} {{instance}}"}))
	add(b, 8, graph("Memory by instance", "Resident memory.", units.BytesIEC,
		query{"max by (job, instance) (" + s.of("process_resident_memory_bytes") + ")", "{{job}} {{instance}}"}))
	add(b, 8, graph("File descriptors by instance", "In use, of those that the process may have: sockets first.",
		units.PercentUnit,
		query{
			"max by (job, instance) (" + s.of("process_open_fds") + " / " + s.of("process_max_fds") + ")",
			"{{job}} {{instance}}",
		}))

	b.row("Go")
	add(b, 6, graph("Goroutines by instance", "One or two per socket; a number that only rises is a leak.", units.Short,
		query{"max by (job, instance) (" + s.of("go_goroutines") + ")", "{{job}} {{instance}}"}))
	add(b, 6, graph("Heap in use by instance", "Spans of the Go heap that hold something.", units.BytesIEC,
		query{"max by (job, instance) (" + s.of("go_memstats_heap_inuse_bytes") + ")", "{{job}} {{instance}}"}))
	add(b, 6, graph("Allocations by instance", "Bytes allocated per second.", units.BytesPerSecondSI,
		query{s.sum("go_memstats_alloc_bytes_total", "job", "instance"), "{{job}} {{instance}}"}))
	add(b, 6, graph("Longest GC pause by instance", "Of the collections since the process started.", units.Seconds,
		query{
			"max by (job, instance) (" + s.and(`quantile=~"1|1.0"`).of("go_gc_duration_seconds") + ")",
			"{{job}} {{instance}}",
		}))
	return b
}
