package guest

import (
	"fmt"

	"github.com/kernel-playground/kplay/harness/event"
)

// runCases runs the cases the host names, one at a time. A runner is kept ready
// for the next one and is replaced once a case has failed in it or left
// something behind.
func (a *agent) runCases() {
	r := a.runner
	var err error
	for {
		if r == nil {
			r, err = startRunner(a.conn.Send)
		}
		e := <-a.runs
		if err != nil {
			a.finish(event.Event{Kind: event.Finish, Case: e.Case, Reason: "start a runner: " + err.Error()})
			continue
		}
		if e.Alone && r.used {
			r.end()
			if r, err = startRunner(a.conn.Send); err != nil {
				a.finish(event.Event{Kind: event.Finish, Case: e.Case, Reason: "start a runner: " + err.Error()})
				continue
			}
		}
		a.log.killedForMemory()
		a.conn.Send(event.Event{Kind: event.Start, Case: e.Case})
		finish := r.run(e)
		if a.log.killedForMemory() && r.ended() {
			finish.Reason += ": the kernel ran out of memory"
		}
		if finish.Dirty != "" || finish.Status == "fail" || e.Alone || r.ended() {
			r.end()
			r = nil
		}
		a.finish(finish)
	}
}

// finish reports the end of a case, after everything the kernel had to say
// about it.
func (a *agent) finish(e event.Event) {
	a.log.drain()
	e.Taint = taint()
	if err := a.conn.Send(e); err != nil {
		fmt.Println("kplay agent:", err)
	}
}
