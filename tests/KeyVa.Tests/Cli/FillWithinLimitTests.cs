using System.Buffers.Binary;
using System.Globalization;
using KeyVa.Client;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Cli;

/// <summary>
/// A server with default settings is filled with much more than its memory. Where a control group can be made, the
/// kernel would kill it for a page too much; elsewhere its settings are what they would be inside. The torture fills 4 GiB inside 512 MiB:
/// <c>KEYVA_FILL_MIB=4096 KEYVA_FILL_LIMIT_MIB=512</c>.
/// </summary>
public sealed class FillWithinLimitTests(ITestOutputHelper output)
{
    private const int ValueBytes = 1000;
    private const int BatchRecords = 500;
    private const int Writers = 2;

    [Fact]
    public async Task AServerIsFilledWithMuchMoreThanItsMemory()
    {
        long fill = Setting("KEYVA_FILL_MIB", 400) << 20;
        long limit = Setting("KEYVA_FILL_LIMIT_MIB", 256) << 20;
        long batches = fill / (BatchRecords * (ValueBytes + 16)) / Writers;
        string folder = Directory.CreateTempSubdirectory("keyva-fill-").FullName;
        using MemoryGroup group = new(limit);
        try
        {
            string[] settings = group.IsEnforced ? [] : ["--memory-budget", Text(limit / 2)];
            using ServedProcess server = ServedProcess.Start(
                Path.Combine(folder, "data"), group.Launcher, ["--durability", "os", .. settings]);
            await Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Run(() => FillAsync(server, writer, batches))));
            await ReadSomeAsync(server, batches);
            long resident = server.PeakResidentBytes;
            output.WriteLine(
                $"{fill >> 20} MiB in {limit >> 20} MiB ({(group.IsEnforced ? "enforced" : "measured")}): peak resident {resident >> 20} MiB");
            Assert.InRange(resident, 1, limit);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task FillAsync(ServedProcess server, int writer, long batches)
    {
        await using RemoteStore store = server.Connect();
        byte[] key = new byte[16];
        byte[] value = new byte[ValueBytes];
        var random = new Random(writer);
        using WriteBatch batch = new();
        for (long i = 0; i < batches; i++)
        {
            batch.Clear();
            for (int record = 0; record < BatchRecords; record++)
            {
                Key(writer, (i * BatchRecords) + record, key);
                random.NextBytes(value.AsSpan(0, 8));
                key.CopyTo(value, 8);
                batch.Put(key, value);
            }

            WriteResult written = await store.WriteAsync(batch);
            Assert.True(written.IsOk, $"batch {i}: {written.Status} {written.Detail} {server.Errors}");
        }
    }

    private static async Task ReadSomeAsync(ServedProcess server, long batches)
    {
        await using RemoteStore store = server.Connect();
        var random = new Random(5);
        for (int i = 0; i < 2000; i++)
        {
            byte[] key = new byte[16];
            Key(random.Next(Writers), random.NextInt64(batches * BatchRecords), key);
            ReadResult read = await store.GetAsync(key);
            Assert.True(read.Found && read.Record.Value.Span[8..24].SequenceEqual(key), $"read {i}: {read.Status}");
        }
    }

    /// <summary>In random order, each once.</summary>
    private static void Key(int writer, long number, byte[] key)
    {
        BinaryPrimitives.WriteUInt64BigEndian(key, (ulong)number * 0x9E3779B97F4A7C15);
        BinaryPrimitives.WriteInt64BigEndian(key.AsSpan(8), writer);
    }

    private static long Setting(string name, long otherwise) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? long.Parse(text, CultureInfo.InvariantCulture) : otherwise;

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
