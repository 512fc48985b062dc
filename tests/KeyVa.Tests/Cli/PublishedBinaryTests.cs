using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using KeyVa.Client;
using KeyVa.Tests.House;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>
/// The single file that <c>make publish</c> makes, run as it is deployed: as a user without rights, from a folder that cannot be written to, under a
/// service manager that wants to be told. <c>make test</c> publishes it first.
/// </summary>
public sealed class PublishedBinaryTests : IDisposable
{
    private const int Nobody = 65534;

    private readonly string _folder = Directory.CreateTempSubdirectory("keyva-test").FullName;
    private readonly string _program;
    private readonly string _data;

    public PublishedBinaryTests()
    {
        string published = Path.Combine(Repository.Root, "artifacts", "publish", "keyva");
        Assert.True(File.Exists(published), $"{published} is missing; 'make publish' makes it");
        string programs = Path.Combine(_folder, "usr");
        Directory.CreateDirectory(programs);
        _program = Path.Combine(programs, "keyva");
        File.Copy(published, _program);
        _data = Path.Combine(_folder, "data");
        Directory.CreateDirectory(_data);
        Run("chmod", "755", _folder);
        Run("chmod", "555", _program, programs);
        if (IsRoot)
        {
            Run("chown", $"{Nobody}:{Nobody}", _data);
        }
    }

    private static bool IsRoot => Environment.UserName == "root";

    public void Dispose()
    {
        Run("chmod", "-R", "u+w", _folder);
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task AUserWithoutRightsServesPutsAndGetsFromAFolderThatIsReadOnly()
    {
        using (Service service = Start())
        {
            Assert.Equal("version 1\n", Keyva(service, "set", "greeting", "hello"));
            Assert.Equal("hello", Keyva(service, "get", "greeting"));
            await using RemoteStore store = RemoteStore.Connect(service.Data);
            Assert.True((await store.GetAsync("greeting"u8.ToArray())).Status == Status.Ok);
            Assert.Equal(0, service.Terminate());
        }

        using (Service service = Start())
        {
            Assert.Equal("hello", Keyva(service, "get", "greeting"));
            Assert.Equal(0, service.Terminate());
        }
    }

    [Fact]
    public async Task TheUnitStartsItAndIsToldWhatItWants()
    {
        string unit = Repository.Read("deploy/keyva.service");
        string[] start = Values(unit, "ExecStart").Single().Split(' ');
        Assert.Equal("/usr/bin/keyva", start[0]);
        Assert.Equal(["notify"], Values(unit, "Type"));
        string variable = Assert.Single(Values(unit, "Environment"));
        Assert.Equal("KEYVA_DATA=/var/lib/keyva", variable);

        string path = Path.Combine(_folder, "notify");
        using Socket manager = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        manager.Bind(new UnixDomainSocketEndPoint(path));
        manager.ReceiveTimeout = 20_000;
        Run("chmod", "777", path);
        using Service service = Start(start[1..], new() { ["NOTIFY_SOCKET"] = path, ["WATCHDOG_USEC"] = "100000" });
        Assert.Equal("READY=1", Receive(manager));
        Assert.Equal("WATCHDOG=1", Receive(manager));

        // Taken as it comes, as a manager does: the system keeps a few only, and who tells more would wait until somebody listens.
        Task<string> last = Task.Factory.StartNew(() => Behind("WATCHDOG=1", manager), TaskCreationOptions.LongRunning);
        Assert.Equal(0, service.Terminate());
        Assert.Equal("STOPPING=1", await last);
    }

    [Fact]
    public void TheUnitIsHardened()
    {
        string unit = Repository.Read("deploy/keyva.service");
        foreach ((string key, string value) in new[]
        {
            ("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("ProtectHome", "yes"), ("PrivateTmp", "yes"), ("PrivateDevices", "yes"), ("CapabilityBoundingSet", ""),
            ("DynamicUser", "yes"), ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"), ("KillSignal", "SIGTERM"),
        })
        {
            Assert.Equal([value], Values(unit, key));
        }

        // Where systemd is there to be asked.
        if (File.Exists("/usr/bin/systemd-analyze"))
        {
            string copy = Path.Combine(_folder, "keyva.service");
            File.WriteAllText(copy, unit.Replace("/usr/bin/keyva", _program, StringComparison.Ordinal));
            Assert.Equal("", Run("systemd-analyze", "verify", "--man=no", copy));
            Run("systemd-analyze", "security", "--offline=true", "--threshold=20", copy);
        }
    }

    [Fact]
    public void TheContainerRunsTheSameFileAsAUserWithoutRights()
    {
        string[] lines = Repository.Read("deploy/Dockerfile").Split('\n');
        Assert.Contains(lines, static line => line.StartsWith("FROM mcr.microsoft.com/dotnet/runtime-deps:10.0-", StringComparison.Ordinal) && line.EndsWith("chiseled", StringComparison.Ordinal));
        Assert.Contains("USER 1654:1654", lines);
        Assert.Contains("ENTRYPOINT [\"/usr/bin/keyva\"]", lines);
        string[] variables = [.. lines.SelectMany(static line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(static word => word.StartsWith("KEYVA_", StringComparison.Ordinal)).Select(static word => word.Split('=')[0])];
        Assert.NotEmpty(variables);
        Assert.All(variables, static name => Assert.Contains(KeyVa.Server.SettingsSchema.All, setting => setting.EnvironmentVariable == name));
    }

    private static IEnumerable<string> Values(string unit, string key) =>
        unit.Split('\n').Where(line => line.StartsWith(key + "=", StringComparison.Ordinal)).Select(line => line[(key.Length + 1)..]);

    /// <summary>What comes when this comes no more.</summary>
    private static string Behind(string repeated, Socket socket)
    {
        string last;
        do
        {
            last = Receive(socket);
        }
        while (last == repeated);

        return last;
    }

    private static string Receive(Socket socket)
    {
        byte[] buffer = new byte[256];
        return Encoding.ASCII.GetString(buffer, 0, socket.Receive(buffer));
    }

    private Service Start() => Start(["serve"], []);

    private Service Start(string[] arguments, Dictionary<string, string> environment)
    {
        string[] command = [.. Unprivileged(), _program, .. arguments];
        ProcessStartInfo start = new(command[0], command[1..]) { RedirectStandardOutput = true, WorkingDirectory = "/" };
        Clean(start);
        foreach (string listen in (string[])["REST", "GRPC", "CONTROL", "RESP"])
        {
            start.Environment[$"KEYVA_{listen}_LISTEN"] = "127.0.0.1:0";
        }

        start.Environment["KEYVA_DATA"] = _data;
        start.Environment["KEYVA_LOG_LEVEL"] = "warning";
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        return new Service(Process.Start(start)!);
    }

    private string Keyva(Service service, params string[] arguments)
    {
        string[] command = [.. Unprivileged(), _program, .. arguments, "--server", service.Data];
        ProcessStartInfo start = new(command[0], command[1..]) { RedirectStandardOutput = true, WorkingDirectory = "/" };
        Clean(start);
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        return output;
    }

    private static string[] Unprivileged() => IsRoot ? ["setpriv", $"--reuid={Nobody}", $"--regid={Nobody}", "--clear-groups"] : [];

    // No home to unpack into, and nothing of the surroundings.
    private static void Clean(ProcessStartInfo start)
    {
        string path = start.Environment["PATH"]!;
        start.Environment.Clear();
        start.Environment["PATH"] = path;
    }

    private static string Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: {error}{output.Result}");
        return error;
    }

    private sealed class Service : IDisposable
    {
        private readonly Process _process;

        public Service(Process process)
        {
            _process = process;
            while (process.StandardOutput.ReadLine() is { } line)
            {
                string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (words is ["gRPC", "data", var address])
                {
                    Data = address;
                    _ = process.StandardOutput.ReadToEndAsync();
                    return;
                }
            }

            Dispose();
            throw new InvalidOperationException($"the published binary did not come up");
        }

        public string Data { get; } = "";

        /// <summary>SIGTERM; the exit code.</summary>
        public int Terminate()
        {
            Run("kill", "-TERM", _process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture));
            Assert.True(_process.WaitForExit(30_000), "it did not stop");
            return _process.ExitCode;
        }

        public void Dispose()
        {
            if (!_process.HasExited)
            {
                _process.Kill();
            }

            _process.WaitForExit();
            _process.Dispose();
        }
    }
}
