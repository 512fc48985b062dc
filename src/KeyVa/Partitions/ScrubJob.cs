using KeyVa.Engines;

namespace KeyVa.Partitions;

/// <summary>
/// Reads what a <see cref="StoreScrub"/> asks for, at its own rate, beside the scrubs that come by themselves: each run one
/// small piece, and then the next is due. Runs do not overlap; <see cref="End"/> is called once, by the job or its owner.
/// </summary>
internal sealed class ScrubJob(
    StoreScrub scrub, ScrubWalk walk, long bytesPerSecond, IBackgroundWork background, Scrubber owner, CancellationToken cancellation)
    : BackgroundJob(JobPriority.Checkpoint)
{
    public override void Run()
    {
        try
        {
            if (cancellation.IsCancellationRequested)
            {
                End(null);
                return;
            }

            bool more = walk.Step(Scrubber.Piece(bytesPerSecond), Note, out long read);
            scrub.Report(read);
            if (!more)
            {
                End(null);
            }
            else if (read > 0)
            {
                background.ScheduleAfter(this, TimeSpan.FromSeconds((double)read / bytesPerSecond));
            }
            else
            {
                background.Schedule(this);
            }
        }
        catch (StoreException failure)
        {
            End(failure);
        }
    }

    /// <summary>The store closes: nothing is read any more.</summary>
    public void Stop()
    {
        background.Cancel(this);
        End(new StoreException("the store is closing; the scrub is not complete"));
    }

    private void End(StoreException? failure)
    {
        walk.Dispose();
        owner.Forget(this);
        if (failure is not null)
        {
            scrub.Fail(failure);
        }
        else
        {
            scrub.Complete(Status.Ok, null);
        }
    }

    private void Note(CorruptionException damage)
    {
        scrub.Note(damage);
        owner.Note(damage);
    }
}
