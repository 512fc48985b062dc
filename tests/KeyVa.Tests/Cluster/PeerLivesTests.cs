using KeyVa.Cluster.Driver;
using Xunit;

namespace KeyVa.Tests.Cluster;

public sealed class PeerLivesTests
{
    private readonly PeerLives _lives = new();

    [Fact]
    public void AFrameIsNewOnce()
    {
        Assert.True(_lives.Take(7, 1, out bool beganAnew));
        Assert.True(beganAnew);
        Assert.False(_lives.Take(7, 1, out _));
        Assert.True(_lives.Take(7, 3, out beganAnew));
        Assert.False(beganAnew);
        Assert.False(_lives.Take(7, 3, out _));
        Assert.False(_lives.Take(7, 1, out _));
    }

    // Seed 727 of the simulation with bad disks: a forward that a heartbeat had overtaken was passed over, and its caller waited for ten election timeouts.
    [Fact]
    public void AFrameThatOthersHaveOvertakenIsNewOnce()
    {
        Assert.True(_lives.Take(7, 1, out _));
        Assert.True(_lives.Take(7, 64, out _));
        Assert.True(_lives.Take(7, 2, out bool beganAnew));
        Assert.False(beganAnew);
        Assert.False(_lives.Take(7, 2, out _));
        Assert.False(_lives.Take(7, 1, out _));
        Assert.True(_lives.Take(7, 63, out _));
        Assert.True(_lives.Take(7, 67, out _));
        Assert.False(_lives.Take(7, 64, out _));
        Assert.False(_lives.Take(7, 63, out _));

        // Of what lies further back it is not known any more whether it has come.
        Assert.True(_lives.Take(7, 4, out _));
        Assert.False(_lives.Take(7, 3, out _));
        Assert.True(_lives.Take(7, 1_000, out _));
        Assert.False(_lives.Take(7, 936, out _));
        Assert.True(_lives.Take(7, 937, out _));
    }

    // Whoever was started anew may have taken it before.
    [Fact]
    public void NothingIsNewBeforeTheFirstFrameOfALife()
    {
        Assert.True(_lives.Take(7, 50, out _));
        Assert.False(_lives.Take(7, 49, out _));
        Assert.True(_lives.Take(7, 52, out _));
        Assert.False(_lives.Take(7, 49, out _));
        Assert.True(_lives.Take(7, 51, out _));
    }

    // Seed 1011 of the simulation: a late frame of the former life had the next copy of a forward done a second time.
    [Fact]
    public void AFrameOfAFormerLifeMakesNothingNewAgain()
    {
        Assert.True(_lives.Take(7, 100, out _));
        Assert.True(_lives.Take(8, 1, out bool beganAnew));
        Assert.True(beganAnew);
        Assert.False(_lives.Take(7, 100, out beganAnew));
        Assert.False(beganAnew);

        // What was never heard of the former life is not passed over: it may be the newer one.
        Assert.True(_lives.Take(7, 101, out beganAnew));
        Assert.False(beganAnew);
        Assert.False(_lives.Take(8, 1, out beganAnew));
        Assert.False(beganAnew);
        Assert.True(_lives.Take(8, 2, out _));
    }

    [Fact]
    public void TheLastLivesAreRemembered()
    {
        for (ulong life = 1; life <= 40; life++)
        {
            Assert.True(_lives.Take(life, 1, out bool beganAnew));
            Assert.True(beganAnew);
        }

        for (ulong life = 25; life <= 40; life++)
        {
            Assert.False(_lives.Take(life, 1, out bool beganAnew));
            Assert.False(beganAnew);
        }
    }
}
