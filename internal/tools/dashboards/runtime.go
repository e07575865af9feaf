package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

func runtime() *board {
	b := newBoard("runtime", "Kafka & Go", "What every process does with Kafka, and what it costs.",
		variable("job", "Job", processes), variable("instance", "Instance", processes+`{job=~"$job"}`))
	s := byInstance

	b.row("Kafka")
	add(b, 12, graph("Records that Kafka did not confirm by event", "Of workers; they are said again while their lease holds.", units.OpsPerSecond,
		query{s.sum("ackwire_processor_produce_failures_total", "event"), "{{event}}"},
		query{s.sum("ackwire_processor_commit_failures_total"), "offset commits"}))
	add(b, 12, graph("Warnings of the embedded broker", "Files that it repaired, or writes that failed. A real Kafka has none of these.", units.OpsPerSecond,
		query{s.sum("ackwire_broker_warnings_total", "instance"), "{{instance}}"}))

	b.row("Process")
	add(b, 8, graph("CPU by instance", "CPUs in use.", units.Short,
		query{s.sum("process_cpu_seconds_total", "job", "instance"), "{{job}} {{instance}}"}))
	add(b, 8, graph("Memory by instance", "Resident memory.", units.BytesIEC,
		query{"max by (job, instance) (" + s.of("process_resident_memory_bytes") + ")", "{{job}} {{instance}}"}))
	add(b, 8, graph("File descriptors by instance", "In use, of those that the process may have: sockets first.", units.PercentUnit,
		query{"max by (job, instance) (" + s.of("process_open_fds") + " / " + s.of("process_max_fds") + ")", "{{job}} {{instance}}"}))

	b.row("Go")
	add(b, 6, graph("Goroutines by instance", "One or two per socket; a number that only rises is a leak.", units.Short,
		query{"max by (job, instance) (" + s.of("go_goroutines") + ")", "{{job}} {{instance}}"}))
	add(b, 6, graph("Heap in use by instance", "Spans of the Go heap that hold something.", units.BytesIEC,
		query{"max by (job, instance) (" + s.of("go_memstats_heap_inuse_bytes") + ")", "{{job}} {{instance}}"}))
	add(b, 6, graph("Allocations by instance", "Bytes allocated per second.", units.BytesPerSecondSI,
		query{s.sum("go_memstats_alloc_bytes_total", "job", "instance"), "{{job}} {{instance}}"}))
	add(b, 6, graph("Longest GC pause by instance", "Of the collections since the process started.", units.Seconds,
		query{"max by (job, instance) (" + s.and(`quantile="1"`).of("go_gc_duration_seconds") + ")", "{{job}} {{instance}}"}))
	return b
}
