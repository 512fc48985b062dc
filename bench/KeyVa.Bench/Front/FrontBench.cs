using System.Globalization;

namespace KeyVa.Bench.Front;

/// <summary>
/// Requests per second of KeyVa's front ends and of a bare Kestrel, each server in a process of its own on the same
/// machine as the load generator, one run after the other in every round.
/// </summary>
internal sealed class FrontBench(BenchOptions options)
{
    /// <summary>Roles of a child process: their name is its first argument.</summary>
    public const string BareRole = "serve-bare";

    public const string KeyVaRole = "serve-keyva";

    private const string Rest = "rest";
    private const string BareKestrel = "bare-kestrel";
    private const string Grpc = "grpc";
    private const string BareHttp2 = "bare-http2";

    public Section Run()
    {
        Section section = new("Front ends", askedRatio: 0.7);
        IReadOnlyList<string> targets = options.Targets ?? [Rest, BareKestrel, Grpc, BareHttp2];
        string? unknown = targets.FirstOrDefault(target => target is not (Rest or BareKestrel or Grpc or BareHttp2));
        if (unknown is not null)
        {
            throw new UsageException($"no front end is called '{unknown}'");
        }

        Describe(section, targets);
        using DataFolder folder = new(options.Data, "front");
        int[] keyva = [ServerProcess.FreePort(), ServerProcess.FreePort(), ServerProcess.FreePort()];
        int[] bare = [ServerProcess.FreePort(), ServerProcess.FreePort()];
        using ServerProcess? keyvaServer = targets.Any(target => target is Rest or Grpc)
            ? ServerProcess.Start(KeyVaRole, Path.Combine(folder.Path, "store"), Text(keyva[0]), Text(keyva[1]), Text(keyva[2]))
            : null;
        using ServerProcess bareServer = ServerProcess.Start(BareRole, Text(bare[0]), Text(bare[1]));
        const int warmup = -1;
        for (int round = warmup; round < options.Rounds; round++)
        {
            foreach (string target in targets)
            {
                bool isKeyVa = target is Rest or Grpc;
                int port = target switch
                {
                    Rest => keyva[0],
                    Grpc => keyva[1],
                    BareKestrel => bare[0],
                    _ => bare[1],
                };
                Sample sample = target is Rest or BareKestrel
                    ? Wrk.Run(folder.Path, port, options.Connections, options.FrontSeconds)
                    : GrpcLoad.RunAsync(port, options.Connections, options.FrontSeconds).GetAwaiter().GetResult();
                if (round != warmup)
                {
                    section.Add(target is Rest or BareKestrel ? "rest get" : "grpc get", threads: 1, target, sample);
                }
            }
        }

        return section;
    }

    private void Describe(Section section, IReadOnlyList<string> targets)
    {
        foreach (string target in targets)
        {
            section.Targets.Add((target, target switch
            {
                Rest => "KeyVa serving GET /kv/{key} from the lsm engine",
                BareKestrel => "Kestrel answering a constant of 100 bytes to any request, no routing",
                Grpc => "KeyVa serving DataPlane.Get with one key from the lsm engine",
                _ => $"Kestrel answering a constant frame of {FrontRecords.GrpcMessageBytes} bytes and trailers, HTTP/2",
            }));
        }

        section.Conditions.Add(("rest get", $"wrk with 1 thread and {options.Connections} connections for {options.FrontSeconds:0.#} s over {FrontRecords.Asked} keys of {FrontRecords.Count:N0}, values of {FrontRecords.ValueBytes} bytes"));
        section.Conditions.Add(("grpc get", $"one HTTP/2 connection of SocketsHttpHandler with {options.Connections} requests under way, the same frames to both, same keys and values; bytes allocated are the client's"));
        section.Note("Server and load generator share the machine's processors. One unmeasured round comes before the first.");
    }

    private static string Text(int port) => port.ToString(CultureInfo.InvariantCulture);
}
