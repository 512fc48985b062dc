using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Raft;

/// <summary>A group in steady state costs no memory: heartbeats, their answers and reads allocate nothing on the heap.</summary>
public sealed class AllocationTests
{
    private const int Rounds = 1000;

    [Fact]
    public void HeartbeatsAndReadsAllocateNothing()
    {
        TestNode leader = new(1, TestNode.Three);
        leader.Elect(2);
        leader.Acknowledge(2, 2);
        leader.Acknowledge(3, 2);
        TestNode follower = new(2, TestNode.Three);
        follower.Append(from: 1, term: 2, [new Entry(2, 2, EntryKind.Empty, default)], commit: 2);
        Work work = new();
        Exchange(leader, follower, work, Rounds);
        long before = GC.GetAllocatedBytesForCurrentThread();
        int confirmed = Exchange(leader, follower, work, Rounds);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(Rounds, confirmed);
    }

    private static int Exchange(TestNode leader, TestNode follower, Work work, int rounds)
    {
        int confirmed = 0;
        for (int i = 0; i < rounds; i++)
        {
            leader.Now += 10;
            leader.Group.Tick(leader.Now);
            leader.Group.Read(i, leader.Now);
            leader.Group.TryTakeWork(work);
            foreach (Message message in work.Messages)
            {
                if (message.To == follower.Group.Id)
                {
                    follower.Group.Step(message, leader.Now);
                }
            }

            follower.Group.TryTakeWork(work);
            foreach (Message message in work.Messages)
            {
                leader.Group.Step(message, leader.Now);
            }

            while (leader.Group.TryTakeWork(work))
            {
                confirmed += work.Reads.Count;
            }
        }

        return confirmed;
    }
}
