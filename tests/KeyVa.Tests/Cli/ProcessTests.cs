using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using KeyVa.Cli.Transfer;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>The program itself: pipes, signals, kills, a terminal.</summary>
public sealed partial class ProcessTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly string _directory = Directory.CreateTempSubdirectory("keyva-test").FullName;
    private readonly int[] _ports = Ports.Take(3);
    private Process? _server;

    private string Server => $"127.0.0.1:{_ports[1]}";

    public async Task InitializeAsync() => await ServeAsync();

    public Task DisposeAsync()
    {
        if (_server is { HasExited: false })
        {
            _server.Kill();
            _server.WaitForExit();
        }

        _server?.Dispose();
        Directory.Delete(_directory, recursive: true);
        return Task.CompletedTask;
    }

    [Fact]
    public async Task TheProgramSpeaksWithPipesAndExitCodes()
    {
        byte[] value = [0, 255, 10];
        Assert.Equal((0, "version 1\n", ""), await RunAsync(value, "set", "k", "-"));
        using (Process get = Start("get", "k"))
        {
            using MemoryStream output = new();
            await get.StandardOutput.BaseStream.CopyToAsync(output);
            await get.WaitForExitAsync();
            Assert.Equal((0, "00FF0A"), (get.ExitCode, Convert.ToHexString(output.ToArray())));
        }

        Assert.Equal((1, "", "keyva: no key 'none'\n"), await RunAsync([], "get", "none"));
        Assert.Equal(2, (await RunAsync([], "get")).Code);
        (int code, _, string error) = await RunAsync([], "get", "k", "--server", "127.0.0.1:1");
        Assert.Equal(3, code);
        Assert.Contains("no server answers at 127.0.0.1:1", error, StringComparison.Ordinal);
        (code, string help, _) = await RunAsync([], "--help");
        Assert.Equal(0, code);
        Assert.Contains("Exit codes:", help, StringComparison.Ordinal);
        (code, _, error) = await RunAsync([], "serve", "--data", Path.Combine(_directory, "data"), "--durability", "perhaps");
        Assert.Equal(2, code);
        Assert.Contains("allowed is: always, interval, os", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AReaderThatGoesAwayEndsAScan()
    {
        string input = await WriteInputAsync(20_000);
        Assert.Equal(0, (await RunAsync([], "import", input)).Code);
        using Process scan = Start("scan");
        Assert.StartsWith("key-", await scan.StandardOutput.ReadLineAsync(), StringComparison.Ordinal);
        scan.StandardOutput.Close();
        await scan.WaitForExitAsync(new CancellationTokenSource(Patience).Token);
        Assert.Equal(141, scan.ExitCode);
    }

    [Fact]
    public async Task CtrlCStopsACommand()
    {
        string fifo = Path.Combine(_directory, "fifo.jsonl");
        using (Process make = Process.Start("mkfifo", fifo))
        {
            await make.WaitForExitAsync();
        }

        using Process import = Start("import", fifo);
        await using (FileStream pipe = new(fifo, FileMode.Open, FileAccess.Write))
        {
            await pipe.WriteAsync("{\"key\":\"a\",\"value\":\"1\"}\n"u8.ToArray());
            await pipe.FlushAsync();
            Assert.Equal(0, Kill(import.Id, 2));

            // Open until the import is gone: at the end of its input it would rightly be done, signal or not.
            await import.WaitForExitAsync(new CancellationTokenSource(Patience).Token);
        }

        Assert.Equal(130, import.ExitCode);
    }

    [Fact]
    public async Task WatchTellsChangesToAPipeAsTheyComeAndCtrlCEndsIt()
    {
        // From version 1: what is set before the watch is set up is told, too.
        using Process watch = Start("watch", "--prefix", "w", "--from-version", "1", "--previous");
        Assert.Equal((0, "version 1\n", ""), await RunAsync([], "set", "w1", "a\tb"));
        Assert.Equal("1\tput\tw1\ta\\tb\twas unknown", (await watch.StandardOutput.ReadLineAsync().WaitAsync(Patience))!.Replace("absent", "unknown", StringComparison.Ordinal));
        Assert.Equal(0, (await RunAsync([], "set", "w1", "new")).Code);
        Assert.Equal("2\tput\tw1\tnew\twas 1\ta\\tb", await watch.StandardOutput.ReadLineAsync().WaitAsync(Patience));
        Assert.Equal(0, (await RunAsync([], "del", "--prefix", "w")).Code);
        Assert.Equal("3\tremove-range\tw\tx", await watch.StandardOutput.ReadLineAsync().WaitAsync(Patience));
        Assert.Equal(0, Kill(watch.Id, 2));
        await watch.WaitForExitAsync(new CancellationTokenSource(Patience).Token);
        Assert.Equal(0, watch.ExitCode);
        using Process json = Start("watch", "w1", "--json", "--from-version", "2");
        Assert.StartsWith("{\"event\":\"put\",\"key\":\"w1\",\"value\":\"new\",\"version\":2,", await json.StandardOutput.ReadLineAsync().WaitAsync(Patience), StringComparison.Ordinal);
        json.StandardOutput.Close();
        json.Kill();
        await json.WaitForExitAsync();
        Assert.Equal(2, (await RunAsync([], "watch", "k", "--prefix", "w")).Code);
        Assert.Equal(2, (await RunAsync([], "watch", "--from-version", "1000")).Code);
    }

    [Fact]
    public async Task AnImportThatIsKilledGoesOnWhereItStopped()
    {
        const int Records = 400_000;
        string input = await WriteInputAsync(Records);
        string state = ImportState.PathFor(input);
        using (Process import = Start("import", input, "--resume"))
        {
            Task<string> error = import.StandardError.ReadToEndAsync();
            Await(() => File.Exists(state), import);
            import.Kill();
            await import.WaitForExitAsync();
            await error;
        }

        (int code, string output, string told) = await RunAsync([], "import", input, "--resume", "--json");
        Assert.True(code == 0, told);
        Assert.Matches("^keyva: going on at line [0-9]+, behind [0-9,]+ records", told);
        Assert.Contains("\"records_before\":", output, StringComparison.Ordinal);
        Assert.False(File.Exists(state));
        await AssertHoldsAsync(Records);
    }

    [Fact]
    public async Task AServerThatIsKilledInAnImportHasEveryAcknowledgedRecord()
    {
        const int Records = 400_000;
        string input = await WriteInputAsync(Records);
        string state = ImportState.PathFor(input);
        using (Process import = Start("import", input, "--resume"))
        {
            Task<string> error = import.StandardError.ReadToEndAsync();
            Await(() => File.Exists(state), import);
            _server!.Kill();
            await _server.WaitForExitAsync();
            await import.WaitForExitAsync(new CancellationTokenSource(Patience).Token);
            Assert.Equal(3, import.ExitCode);
            Assert.Contains("Run the same command again to go on there.", await error, StringComparison.Ordinal);
        }

        await ServeAsync();
        ImportState begin = ImportState.Begin(new FileInfo(input), Server, "format jsonl, key field key, value field (usual)");
        ImportState saved = ImportState.Load(state, begin);
        Assert.True(saved.Done.Records > 0);
        await AssertHoldsAsync(saved.Done.Records, atLeast: true);
        Assert.Equal(0, (await RunAsync([], "import", input, "--resume")).Code);
        await AssertHoldsAsync(Records);
    }

    [Fact]
    public async Task AServerStopsWhenItIsToldTo()
    {
        Assert.Equal(0, Kill(_server!.Id, 15));
        await _server.WaitForExitAsync(new CancellationTokenSource(Patience).Token);
        Assert.Equal(0, _server.ExitCode);
    }

    [Fact]
    public async Task TheShellCompletesAndRemembersOnATerminal()
    {
        const string Script = """
            import os, pty, select, sys, time
            program, server, steps = sys.argv[1], sys.argv[2], sys.argv[3:]
            pid, terminal = pty.fork()
            if pid == 0:
                os.execv(program, [program, "shell", "--server", server])
            seen = b""
            def until(text):
                global seen
                deadline = time.monotonic() + 60
                while text not in seen:
                    if time.monotonic() > deadline or not select.select([terminal], [], [], 60)[0]:
                        sys.exit("waited for %r, saw %r" % (text, seen))
                    seen += os.read(terminal, 4096)
                seen = seen[seen.index(text) + len(text):]
            until(b"> ")
            for i in range(0, len(steps), 2):
                os.write(terminal, steps[i].encode().decode("unicode_escape").encode())
                until(steps[i + 1].encode())
            os.write(terminal, b"exit\r")
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            """;
        Assert.Equal(0, (await RunAsync([], "mset", "greeting", "hello", "other", "x")).Code);
        string script = Path.Combine(_directory, "terminal.py");
        await File.WriteAllTextAsync(script, Script);
        string[] steps =
        [
            "get gree\\t", "get greeting ", // completed
            "\\r", "hello\r\n",
            "\\x1b[A", "get greeting", // remembered
            "\\r", "hello\r\n",
            "get none\\r", "keyva: no key 'none'",
        ];
        ProcessStartInfo start = new("/usr/bin/python3") { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (string argument in (string[])[script, Program, Server, .. steps])
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["XDG_STATE_HOME"] = _directory;
        start.Environment["TERM"] = "xterm";
        using Process python = Process.Start(start)!;
        string error = await python.StandardError.ReadToEndAsync();
        await python.WaitForExitAsync(new CancellationTokenSource(Patience).Token);
        Assert.True(python.ExitCode == 0, error);
        Assert.Equal(["get greeting ", "get none", "exit"], await File.ReadAllLinesAsync(Path.Combine(_directory, "keyva", "history")));
    }

    private static string Program => Path.Combine(AppContext.BaseDirectory, "KeyVa.Cli");

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int process, int signal);

    private async Task ServeAsync()
    {
        _server?.Dispose();
        _server = Start(
            "serve", "--data", Path.Combine(_directory, "data"), "--journal-segment", "4MiB", "--rest-listen", $"127.0.0.1:{_ports[0]}",
            "--grpc-listen", Server, "--control-listen", $"127.0.0.1:{_ports[2]}", "--resp-listen", "127.0.0.1:0", "--log-level", "error");
        using CancellationTokenSource patience = new(Patience);
        string? line;
        do
        {
            line = await _server.StandardOutput.ReadLineAsync(patience.Token);
            Assert.True(line is not null, "the server ended before it was ready");
        }
        while (!line.StartsWith("Ctrl+C", StringComparison.Ordinal));
    }

    private Process Start(params string[] arguments)
    {
        // Whoever runs the tests may have told them to pass over Ctrl-C (a shell does so in the background), and children inherit that.
        ProcessStartInfo start = new("env", ["--default-signal=INT", Program])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = _directory,
        };
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        if (arguments[0] != "serve")
        {
            start.Environment["KEYVA_SERVER"] = Server;
        }

        return Process.Start(start)!;
    }

    private async Task<(int Code, string Output, string Error)> RunAsync(byte[] input, params string[] arguments)
    {
        using Process process = Start(arguments);
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        await process.StandardInput.BaseStream.WriteAsync(input);
        process.StandardInput.Close();
        await process.WaitForExitAsync(new CancellationTokenSource(Patience).Token);
        return (process.ExitCode, await output, await error);
    }

    private async Task<string> WriteInputAsync(int records)
    {
        string path = Path.Combine(_directory, "input.jsonl");
        await using StreamWriter file = new(path);
        for (int i = 0; i < records; i++)
        {
            await file.WriteAsync(string.Create(CultureInfo.InvariantCulture, $"{{\"key\":\"key-{i:0000000}\",\"value\":\"value {i} {new string('x', 80)}\"}}\n"));
        }

        return path;
    }

    private async Task AssertHoldsAsync(long records, bool atLeast = false)
    {
        await using RemoteStore store = RemoteStore.Connect(Server);
        long next = 0;
        await foreach (Record record in store.ScanAsync(new ScanOptions()))
        {
            string key = Encoding.UTF8.GetString(record.Key.Span);
            if (next < records)
            {
                Assert.Equal(string.Create(CultureInfo.InvariantCulture, $"key-{next:0000000}"), key);
            }

            next++;
        }

        Assert.True(atLeast ? next >= records : next == records, $"{next} records instead of {records}");
    }

    /// <summary>Waits for something that the process does, on this thread, which needs no other to go on: there is not much time. Fails if the process ends before.</summary>
    private static void Await(Func<bool> happened, Process process)
    {
        bool hasHappened = false;
        SpinWait.SpinUntil(() => (hasHappened = happened()) || process.HasExited, Patience);
        Assert.True(hasHappened, "it ended before it could be interrupted");
    }
}
