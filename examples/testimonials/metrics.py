"""Daily analytics of each shop that collects testimonials: what it asked for and what came back.

The three tables tell their changes by triggers (`dayfold track install`), so that a row that arrives, moves or goes
years late refolds its own shop and day and nothing else. Without the triggers, the last seven days are folded again.
"""

from dayfold import Count, Ratio, Read, Rollup, Table

request = Table("testimonial_request", changes="trigger")
submission = Table("testimonial_submission", changes="trigger")

# One row per request, so that a request clicked five times is clicked once. Some clicks are in the events only.
click = Table(
    sql="""
        select r.id as request_id, r.shop_id, coalesce(r.clicked_at, min(e."at")) as clicked_at
        from testimonial_request as r
        left join testimonial_request_event as e on e.request_id = r.id and e.type = 'clicked'
        group by r.id, r.shop_id, r.clicked_at
    """,
    reads=[
        Read("testimonial_request", on={"id": "request_id"}),
        Read("testimonial_request_event", on={"request_id": "request_id"}),
    ],
    changes="trigger",
)


class TestimonialDaily(Rollup):
    """What one shop asked for and received on one day, each fact on the day of its own moment."""

    table = "testimonial_daily_analytics"
    day_column = "date"
    key = "shop_id"

    requests_sent = Count(request, at="sent_at")
    requests_clicked = Count(click, at="clicked_at")
    submissions_count = Count(submission, at="submitted_at")
    approved_count = Count(submission, at="approved_at")
    published_count = Count(submission, at="published_at")
    video_submissions_count = Count(submission, at="submitted_at", where="media_type = 'video'")
    photo_submissions_count = Count(submission, at="submitted_at", where="media_type = 'photo'")
    response_rate = Ratio("submissions_count", "requests_sent")
