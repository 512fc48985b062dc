using System.Net;
using System.Net.Sockets;
using System.Text;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>
/// A serving process that runs out of descriptors: connections take them all while one client goes on writing. Writes are
/// served or refused, or the runtime gives up; what was acknowledged is there.
/// </summary>
public sealed class OpenFileLimitTests
{
    private const int Limit = 400;

    [Fact]
    public async Task WithoutDescriptorsNothingAcknowledgedIsLost()
    {
        string folder = Directory.CreateTempSubdirectory("keyva-limit-").FullName;
        List<Socket> sockets = [];
        try
        {
            string[] launcher = ["/bin/sh", "-c", $"ulimit -n {Limit}; exec \"$@\"", "sh"];
            string[] settings = ["--durability", "interval", "--memtable", "64KiB", "--journal-segment", "1MiB", "--journal-budget", "2MiB", "--background-threads", "1"];
            string data = Path.Combine(folder, "data");
            List<string> acknowledged = [];
            int refused = 0;
            using (ServedProcess server = ServedProcess.Start(data, launcher, settings))
            {
                await using RemoteStore store = server.Connect();
                Assert.True((await Put(store, 0)).IsOk);
                IPEndPoint address = IPEndPoint.Parse(server.ControlAddress);
                for (int i = 0; i < Limit; i++)
                {
                    Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
                    sockets.Add(socket);
                    try
                    {
                        await socket.ConnectAsync(address);
                    }
                    catch (SocketException)
                    {
                        // No more are taken: it is at its limit, or the runtime has ended it there, which the writes will tell.
                        break;
                    }
                }

                for (int i = 0; i < 1500; i++)
                {
                    WriteResult result;
                    try
                    {
                        result = await Put(store, i);
                    }
                    catch (ServerUnreachableException)
                    {
                        // The runtime needs descriptors too, and ends the process where it has none: as good as a kill.
                        refused++;
                        break;
                    }

                    Assert.True(result.Status is Status.Ok or Status.Full, $"write {i}: {result.Status} {result.Detail}");
                    if (result.IsOk)
                    {
                        acknowledged.Add(Key(i));
                    }
                    else
                    {
                        refused++;
                    }
                }

                server.Kill();
                server.WaitForExit();
            }

            Assert.True(refused > 0, "the limit was never met");
            Assert.Empty(Store.Verify(data));
            await using Store again = Store.Open(data);
            Assert.All(acknowledged, key =>
            {
                using ValueLease lease = again.Get(Encoding.ASCII.GetBytes(key));
                Assert.True(lease.Found, key);
            });
        }
        finally
        {
            sockets.ForEach(static socket => socket.Dispose());
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Key(int i) => $"key{i:D6}";

    private static async Task<WriteResult> Put(RemoteStore store, int i) => await store.UpsertAsync(Encoding.ASCII.GetBytes(Key(i)), new byte[8000]);
}
