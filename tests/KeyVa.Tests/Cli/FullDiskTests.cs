using System.Diagnostics;
using System.Text;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>A served store on a disk that really runs full, is killed while it is, and recovers when there is room.</summary>
public sealed class FullDiskTests
{
    private const int DiskMegabytes = 72;
    private const int BallastMegabytes = 24;
    private const int ValueBytes = 32 << 10;

    // More than fits on the disk.
    private const int MostPuts = (DiskMegabytes << 20) / ValueBytes;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly Dictionary<int, int> _acknowledged = [];
    private readonly HashSet<int> _removed = [];

    [Theory]
    [InlineData("lsm")]
    [InlineData("memory")]
    public async Task AFullDiskRefusesPutsOnlyAndLosesNothing(string engine)
    {
        using SmallDisk disk = SmallDisk.Mount(DiskMegabytes);
        string ballast = Path.Combine(disk.Outside, "ballast");
        await File.WriteAllBytesAsync(ballast, new byte[BallastMegabytes << 20]);

        await RunAsync(disk, engine, async store =>
        {
            await FillAsync(store);
            await CheckAsync(store);
            await RemoveAsync(store, 0);
            await RemoveAsync(store, 1);
            await CheckAsync(store);
        });

        // Killed on the full disk, it comes up on the full disk, with everything.
        await RunAsync(disk, engine, async store =>
        {
            await CheckAsync(store);
            await RemoveAsync(store, 2);
            File.Delete(ballast);
            await RecoverAsync(store);
            await CheckAsync(store);
        });

        await RunAsync(disk, engine, CheckAsync);
        Assert.Empty(Store.Verify(Path.Combine(disk.Outside, "data")));
    }

    private static async Task RunAsync(SmallDisk disk, string engine, Func<RemoteStore, Task> use)
    {
        using ServedProcess server = ServedProcess.Start(
            $"{SmallDisk.Folder}/data", disk.Launcher, "--engine", engine, "--memtable", "1MiB", "--journal-segment", "1MiB",
            "--journal-budget", "8MiB", "--block-cache", "4MiB");
        await using RemoteStore store = server.Connect();
        await use(store);
        server.Kill();
        server.WaitForExit();
    }

    private async Task FillAsync(RemoteStore store)
    {
        for (int i = 0; i < MostPuts; i++)
        {
            WriteResult result = await store.UpsertAsync(Key(i), Value(i, 0));
            if (result.Status == Status.Full)
            {
                Assert.NotEmpty(result.Detail!);
                Assert.True(i > 10, $"only {i} values fitted on the disk");
                return;
            }

            Assert.True(result.IsOk, $"put {i}: {result.Status}: {result.Detail}");
            _acknowledged[i] = 0;
        }

        Assert.Fail("the disk never ran full");
    }

    // Room may come as late as the next flush, so puts are tried until one succeeds, and then all do.
    private async Task RecoverAsync(RemoteStore store)
    {
        Stopwatch waited = Stopwatch.StartNew();
        for (int i = 0; i < 50; i++)
        {
            WriteResult result = await store.UpsertAsync(Key(i), Value(i, 1));
            while (i == 0 && result.Status == Status.Full && waited.Elapsed < Patience)
            {
                result = await store.UpsertAsync(Key(i), Value(i, 1));
            }

            Assert.True(result.IsOk, $"put {i} after there was room: {result.Status}: {result.Detail}");
            _acknowledged[i] = 1;
            _removed.Remove(i);
        }
    }

    private async Task RemoveAsync(RemoteStore store, int i)
    {
        WriteResult result = await store.RemoveAsync(Key(i));
        Assert.True(result.IsOk, $"remove {i} on a full disk: {result.Status}: {result.Detail}");
        _removed.Add(i);
    }

    private async Task CheckAsync(RemoteStore store)
    {
        foreach ((int i, int generation) in _acknowledged)
        {
            ReadResult read = await store.GetAsync(Key(i));
            Assert.True(read.Status == (_removed.Contains(i) ? Status.NotFound : Status.Ok), $"get {i}: {read.Status}: {read.Detail}");
            Assert.True(!read.Found || read.Record.Value.Span.SequenceEqual(Value(i, generation)), $"get {i}: another value");
        }
    }

    private static byte[] Key(int i) => Encoding.UTF8.GetBytes($"key/{i:D6}");

    private static byte[] Value(int i, int generation)
    {
        byte[] value = new byte[ValueBytes];
        new Random((i * 2) + generation).NextBytes(value);
        return value;
    }
}
