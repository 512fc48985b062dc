using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>
/// A serving process dies by SIGKILL under eight writers, again and again on one store that lives on. SIGKILL leaves the
/// page cache, so no durability may lose anything that was acknowledged. One partition is lsm, one memory, both small
/// enough to flush, compact and checkpoint all the time.
/// </summary>
public sealed class KillTests
{
    private const int Kills = 20;
    private const int FewestAcknowledged = 60;
    private const int MostAcknowledged = 240;

    [Theory]
    [InlineData("always")]
    [InlineData("interval")]
    public async Task KilledTwentyTimesNothingAcknowledgedIsLost(string durability)
    {
        int seed = Environment.TickCount;
        Random random = new(seed);
        string folder = Directory.CreateTempSubdirectory("keyva-kill-").FullName;
        try
        {
            IKillWriter[] writers =
            [
                new BatchWriter(0, "a", "a"), new BatchWriter(1, "a", "a"), new BatchWriter(2, "z", "z"),
                new BatchWriter(3, "z", "z"), new BatchWriter(4, "a", "z"), new BatchWriter(5, "a", "z"),
                .. ChainWriter.Pair("a"),
            ];
            for (int round = 0; round <= Kills; round++)
            {
                string where = $"durability {durability}, seed {seed}, after kill {round}";
                using ServedProcess server = ServedProcess.StartSmall(folder, durability);
                await using RemoteStore store = server.Connect();
                if (round == 0)
                {
                    await server.AddPairAsync();
                }

                foreach (IKillWriter writer in writers)
                {
                    await writer.CheckAsync(store, where);
                }

                await ThenKillAsync(server, writers, random.Next(FewestAcknowledged, MostAcknowledged));
            }

            Assert.Empty(Store.Verify(Path.Combine(folder, "data")));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // Counted, not timed: the writer that gets the last acknowledgement kills the server while the others are on their way.
    private static async Task ThenKillAsync(ServedProcess server, IKillWriter[] writers, int acknowledgements)
    {
        int left = acknowledgements;
        await Task.WhenAll(writers.Select(writer => Task.Run(async () =>
        {
            await using RemoteStore own = server.Connect();
            try
            {
                while (true)
                {
                    await writer.WriteAsync(own);
                    if (Interlocked.Decrement(ref left) == 0)
                    {
                        server.Kill();
                    }
                }
            }
            catch (StoreException) when (Volatile.Read(ref left) <= 0)
            {
                // The kill, as it looks from outside: what was on its way may or may not have happened.
            }
        })));
        server.WaitForExit();
    }
}
