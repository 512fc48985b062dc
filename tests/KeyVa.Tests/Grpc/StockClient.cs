using System.Diagnostics;
using System.Text;
using Xunit;

namespace KeyVa.Tests.Grpc;

/// <summary>Runs the scripts in tests/clients, which drive a server with other people's gRPC clients.</summary>
internal static class StockClient
{
    private const string Install = "run tests/clients/install.sh (make test does)";

    /// <summary>Generous: a check that hangs ends by its own deadline of 30 s.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    internal static string Root { get; } = FindRoot();

    /// <summary>Runs a script of tests/clients/python with Debian's interpreter and requires success.</summary>
    internal static async Task RunPythonAsync(string script, params string[] arguments)
    {
        const string Interpreter = "/usr/bin/python3";
        Assert.True(File.Exists(Interpreter), $"{Interpreter} is missing: {Install}");
        (int code, string text) = await RunAsync(Interpreter, ["-c", "import grpc, google.protobuf, grpc_tools.protoc"]);
        Assert.True(code == 0, $"Debian's python3-grpcio, python3-protobuf or python3-grpc-tools is missing: {Install}\n{text}");
        await RunScriptAsync(Interpreter, Path.Combine(Root, "tests", "clients", "python", script), arguments);
    }

    /// <summary>Runs a script of tests/clients/node and requires success.</summary>
    internal static async Task RunNodeAsync(string script, params string[] arguments)
    {
        string folder = Path.Combine(Root, "tests", "clients", "node");
        Assert.True(Directory.Exists(Path.Combine(folder, "node_modules", "@grpc", "grpc-js")),
            $"npm's @grpc/grpc-js is missing: {Install}");
        await RunScriptAsync("node", Path.Combine(folder, script), arguments);
    }

    /// <summary>Runs a script of tests/clients/python that needs nothing but the interpreter, and python3-redis if it says so, and requires success.</summary>
    internal static Task RunRedisPythonAsync(string script, params string[] arguments) =>
        RunScriptAsync("/usr/bin/python3", Path.Combine(Root, "tests", "clients", "python", script), arguments);

    /// <summary>Runs a script of tests/clients/redis and requires success.</summary>
    internal static Task RunRedisShellAsync(string script, params string[] arguments) =>
        RunScriptAsync("/bin/bash", Path.Combine(Root, "tests", "clients", "redis", script), arguments);

    /// <summary>Runs a script of tests/clients/curl and requires success.</summary>
    internal static Task RunCurlAsync(string script, params string[] arguments) =>
        RunScriptAsync("/bin/bash", Path.Combine(Root, "tests", "clients", "curl", script), arguments);

    private static async Task RunScriptAsync(string program, string script, string[] arguments)
    {
        (int code, string text) = await RunAsync(program, [script, .. arguments]);
        Assert.True(code == 0 && text.Contains("checks passed", StringComparison.Ordinal), $"{script} ended with {code}:\n{text}");
    }

    private static async Task<(int Code, string Text)> RunAsync(string program, string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["PYTHONDONTWRITEBYTECODE"] = "1";
        using Process process = Process.Start(start)!;
        StringBuilder text = new();
        void Append(object sender, DataReceivedEventArgs line)
        {
            lock (text)
                text.AppendLine(line.Data);
        }
        process.OutputDataReceived += Append;
        process.ErrorDataReceived += Append;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        using CancellationTokenSource limit = new(Limit);
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            text.AppendLine($"killed after {Limit}");
            return (-1, text.ToString());
        }
        lock (text)
            return (process.ExitCode, text.ToString());
    }

    private static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "KeyVa.slnx")))
                return folder.FullName;
        }
        throw new InvalidOperationException("the tests are not below the folder of KeyVa.slnx");
    }
}
