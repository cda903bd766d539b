"""The page that Streamlit runs for each visitor, from the top at each change."""

from commands.app.sections import show_page

show_page()
