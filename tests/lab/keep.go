package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// exitStatus is the status to leave with, where the kept command had one.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// keep runs a command in a process group of its own, with its output on
// standard error, and prints its process id as a line of JSON. When standard
// input closes, which happens however the starter ends, the whole group is
// killed, and with it what left the group.
func keep(arguments []string) error {
	flags := flag.NewFlagSet("lab keep", flag.ExitOnError)
	user := flags.String("user", "", "numeric user and group to run as, UID:GID")
	flags.Parse(arguments)
	if flags.NArg() == 0 {
		return errors.New("lab keep needs a command")
	}
	// The kernel ties a child's death signal to the thread that started it.
	runtime.LockOSThread()

	command := exec.Command(flags.Arg(0), flags.Args()[1:]...)
	command.Stdout = os.Stderr
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(command.SysProcAttr)
	if *user != "" {
		var uid, gid uint32
		if _, err := fmt.Sscanf(*user, "%d:%d", &uid, &gid); err != nil {
			return fmt.Errorf("--user is UID:GID, not %q", *user)
		}
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	if err := adoptOrphans(); err != nil {
		return fmt.Errorf("adopt orphans: %w", err)
	}
	if err := command.Start(); err != nil {
		return err
	}
	group := command.Process.Pid
	if err := json.NewEncoder(os.Stdout).Encode(map[string]int{"pid": group}); err != nil {
		return err
	}
	// Ctrl-C reaches everything in the terminal's foreground; only the starter is
	// to decide what it means.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	starterGone := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(starterGone)
	}()
	go func() {
		select {
		case <-terminated:
		case <-starterGone:
		}
		syscall.Kill(-group, syscall.SIGKILL)
	}()

	err := command.Wait()
	syscall.Kill(-group, syscall.SIGKILL)
	killOrphans()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
			return exitStatus(128 + int(status.Signal()))
		}
		return exitStatus(exit.ExitCode())
	}
	return err
}
