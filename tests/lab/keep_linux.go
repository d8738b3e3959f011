package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func dieWithParent(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGKILL }

// adoptOrphans makes processes whose parent ended children of this one.
func adoptOrphans() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// killOrphans ends processes that left the kept command's group, and theirs.
func killOrphans() {
	for {
		children := childProcesses()
		if len(children) == 0 {
			return
		}
		for _, child := range children {
			syscall.Kill(child, syscall.SIGKILL)
			var status syscall.WaitStatus
			syscall.Wait4(child, &status, 0, nil)
		}
	}
}

func childProcesses() (children []int) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		list, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%s/children", task.Name()))
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(list)) {
			if child, err := strconv.Atoi(field); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}
