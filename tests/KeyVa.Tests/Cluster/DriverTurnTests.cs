using KeyVa.Cluster.Driver;
using KeyVa.Cluster.Transport;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Cluster;

public sealed class DriverTurnTests
{
    [Fact]
    public void ATurnLooksAtABoundedPieceOfWhatHasComeAndAsksForTheNext()
    {
        const long now = 1_000;
        ClusterDriver driver = new(new DriverOptions { Node = 1, Cluster = 1, Seed = 1 }, new InProcessNetwork().Join(1, new MemoryFileSystem()), static () => now, static () => { });
        ITransportReceiver receiver = driver;

        // Each is counted as a bad one when it is looked at.
        for (int i = 0; i < 5; i++)
        {
            receiver.Received(2, new byte[1 << 20]);
        }

        Assert.Equal(now, driver.Run());
        Assert.Equal(2, driver.BadFrames);
        Assert.Equal(now, driver.Run());
        Assert.Equal(4, driver.BadFrames);
        Assert.NotEqual(now, driver.Run());
        Assert.Equal(5, driver.BadFrames);
    }
}
